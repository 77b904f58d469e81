//! A simulated disk: the node's real database on an image that a crash takes back to its last sync.
//!
//! A [`SimDisk`] outlives the host that uses it. Each start of the host opens it anew ([`SimDisk::open`]); a crash
//! ([`SimDisk::crash`]) drops what was written since the last sync and cuts off the handle that was open, so that
//! nothing which the dying process still does reaches the disk.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use image::Image;

mod image;

/// Largest image in bytes; a simulated host that needs more is at fault.
const CAPACITY_BYTES_MAX: u64 = 1 << 30;

/// A host's disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<Images>>);

#[derive(Debug, Default)]
struct Images {
    /// What a crash leaves.
    durable: Image,
    /// What the process sees.
    volatile: Image,
    /// Where the two may differ, besides their lengths.
    unsynced: Vec<Range<usize>>,
    /// Writes and changes of length since the last sync.
    unsynced_operations: u64,
    /// How often the disk has been opened or has crashed: a handle works only in its own generation.
    generation: u64,
    /// A bit has changed since the disk was new.
    damaged: bool,
    usage: DiskUsage,
    trouble: Trouble,
    /// Operations that the trouble has affected.
    troubled: u64,
}

/// What is wrong with a disk.
#[derive(Clone, Default)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It takes no more data.
    Full,
    /// It cannot sync.
    SyncFails,
    /// It is slow: this is called at each sync.
    Slow(Arc<dyn Fn() + Send + Sync>),
}

impl std::fmt::Debug for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Trouble::None => "None",
            Trouble::Full => "Full",
            Trouble::SyncFails => "SyncFails",
            Trouble::Slow(_) => "Slow",
        })
    }
}

/// What a disk writes at once: of a torn write, some sectors are there and others not.
const SECTOR_BYTES: usize = 512;

/// What a disk has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DiskUsage {
    /// Writes.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Writes and changes of length that crashes have taken back.
    pub lost: u64,
    /// Times that it was replaced by an empty one: it was lost, or a node refused it as damaged.
    pub replaced: u64,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Opens the disk for a process that starts. Handles that were opened before stop working.
    pub fn open(&self) -> DiskHandle {
        let mut images = self.lock();
        images.generation += 1;
        DiskHandle {
            disk: self.clone(),
            generation: images.generation,
        }
    }

    /// The process or its machine fails: what was not synced is gone. Says how many operations were.
    pub fn crash(&self) -> u64 {
        self.crash_torn(|| false)
    }

    /// As [`SimDisk::crash`], but each sector that was not synced is on the disk all the same where `kept` says so.
    pub fn crash_torn(&self, mut kept: impl FnMut() -> bool) -> u64 {
        let mut images = self.lock();
        images.generation += 1;
        let Images {
            durable,
            volatile,
            unsynced,
            ..
        } = &mut *images;
        if volatile.len() > durable.len() && kept() {
            durable.resize(volatile.len());
        }
        for range in unsynced.iter() {
            let end = range.end.min(durable.len()).min(volatile.len());
            let mut at = range.start;
            while at < end {
                let sector_end = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                if kept() {
                    let mut sector = [0; SECTOR_BYTES];
                    let sector = &mut sector[..sector_end - at];
                    // Both are that long.
                    let _ = volatile.read(at, sector);
                    let _ = durable.write(at, sector);
                }
                at = sector_end;
            }
        }
        volatile.resize(durable.len());
        for range in unsynced.drain(..) {
            volatile.share(&range, durable);
        }
        let lost = std::mem::take(&mut images.unsynced_operations);
        images.usage.lost += lost;
        lost
    }

    /// One bit changes of what was synced, in a sector that is not empty; the process must have ended. Says which, counted
    /// from the disk's beginning; `None` where the disk is empty. `draw` gives a number below the one that it is given.
    pub fn flip(&self, mut draw: impl FnMut(u64) -> u64) -> Option<u64> {
        let mut images = self.lock();
        let Images {
            durable, volatile, ..
        } = &mut *images;
        let written = durable.written(SECTOR_BYTES);
        let start = *written.get(usize::try_from(draw(written.len().max(1) as u64)).ok()?)?;
        let bytes = SECTOR_BYTES.min(durable.len() - start);
        let bit = usize::try_from(draw(bytes as u64 * 8)).ok()?;
        let at = start + bit / 8;
        for image in [durable, volatile] {
            let mut byte = [0];
            image.read(at, &mut byte)?;
            image.write(at, &[byte[0] ^ 1 << (bit % 8)])?;
        }
        images.damaged = true;
        Some(at as u64 * 8 + bit as u64 % 8)
    }

    /// Whether a bit has changed since the disk was new.
    pub fn is_damaged(&self) -> bool {
        self.lock().damaged
    }

    /// Whether it fails now, which passes.
    pub fn fails(&self) -> bool {
        matches!(self.lock().trouble, Trouble::Full | Trouble::SyncFails)
    }

    /// An operator puts an empty disk in its place. Says how many bytes the old one held.
    pub fn replace(&self) -> u64 {
        let mut images = self.lock();
        let usage = DiskUsage {
            replaced: images.usage.replaced + 1,
            ..images.usage
        };
        let held = images.durable.len() as u64;
        *images = Images {
            generation: images.generation + 1,
            usage,
            trouble: images.trouble.clone(),
            troubled: images.troubled,
            ..Images::default()
        };
        held
    }

    /// Something is wrong with the disk from now on, or nothing any more. Says how many operations the trouble before
    /// has affected.
    pub fn set_trouble(&self, trouble: Trouble) -> u64 {
        let mut images = self.lock();
        images.trouble = trouble;
        std::mem::take(&mut images.troubled)
    }

    /// What the disk has done.
    pub fn usage(&self) -> DiskUsage {
        self.lock().usage
    }

    fn lock(&self) -> MutexGuard<'_, Images> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A disk as one process holds it.
#[derive(Debug)]
pub struct DiskHandle {
    disk: SimDisk,
    generation: u64,
}

impl DiskHandle {
    fn images(&self) -> io::Result<MutexGuard<'_, Images>> {
        let images = self.disk.lock();
        if images.generation != self.generation {
            return Err(io::Error::new(
                ErrorKind::BrokenPipe,
                "the host has crashed",
            ));
        }
        Ok(images)
    }
}

impl Images {
    fn check_space(&mut self) -> io::Result<()> {
        if matches!(self.trouble, Trouble::Full) {
            self.troubled += 1;
            return Err(io::Error::new(ErrorKind::StorageFull, "the disk is full"));
        }
        Ok(())
    }
}

fn range(offset: u64, len: usize) -> io::Result<Range<usize>> {
    let end = offset
        .checked_add(len as u64)
        .filter(|end| *end <= CAPACITY_BYTES_MAX);
    let end = end.ok_or_else(|| {
        io::Error::new(
            ErrorKind::StorageFull,
            "beyond the end of the simulated disk",
        )
    })?;
    Ok(offset as usize..end as usize)
}

impl StorageBackend for DiskHandle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.images()?.volatile.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let Range { start, .. } = range(offset, out.len())?;
        let read = self.images()?.volatile.read(start, out);
        read.ok_or_else(|| io::Error::new(ErrorKind::UnexpectedEof, "read beyond the image"))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let Range { end, .. } = range(len, 0)?;
        let mut images = self.images()?;
        images.check_space()?;
        let before = images.volatile.len();
        images.volatile.resize(end);
        // What was cut off and grown again is zero now, whatever the durable image holds there.
        images.unsynced.push(before.min(end)..before.max(end));
        images.unsynced_operations += 1;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut images = self.images()?;
        match images.trouble.clone() {
            Trouble::SyncFails => {
                images.troubled += 1;
                return Err(io::Error::other("the disk cannot sync"));
            }
            Trouble::Slow(wait) => {
                images.troubled += 1;
                wait();
            }
            Trouble::None | Trouble::Full => {}
        }
        let Images {
            durable,
            volatile,
            unsynced,
            ..
        } = &mut *images;
        durable.resize(volatile.len());
        for range in unsynced.drain(..) {
            durable.share(&range, volatile);
        }
        images.unsynced_operations = 0;
        images.usage.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let range = range(offset, data.len())?;
        let mut images = self.images()?;
        images.check_space()?;
        let written = images.volatile.write(range.start, data);
        written
            .ok_or_else(|| io::Error::new(ErrorKind::UnexpectedEof, "write beyond the image"))?;
        images.unsynced.push(range);
        images.unsynced_operations += 1;
        images.usage.writes += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

    use super::*;

    const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

    fn open(disk: &SimDisk) -> Database {
        Database::builder()
            .create_with_backend(disk.open())
            .expect("the image holds a database, or nothing")
    }

    fn put(db: &Database, key: u64) {
        let tx = db.begin_write().unwrap();
        tx.open_table(ROWS)
            .unwrap()
            .insert(key, [key as u8; 100].as_slice())
            .unwrap();
        tx.commit().unwrap();
    }

    fn keys(db: &Database) -> Vec<u64> {
        let tx = db.begin_read().unwrap();
        let Ok(table) = tx.open_table(ROWS) else {
            return Vec::new();
        };
        table
            .iter()
            .unwrap()
            .map(|row| row.unwrap().0.value())
            .collect()
    }

    #[test]
    fn a_crash_keeps_what_was_committed_and_nothing_else() {
        let disk = SimDisk::new();
        let db = open(&disk);
        (0..50).for_each(|key| put(&db, key));
        // In the midst of a transaction, with pages written and not synced.
        let tx = db.begin_write().unwrap();
        for key in 1000..3000 {
            tx.open_table(ROWS)
                .unwrap()
                .insert(key, [1u8; 2000].as_slice())
                .unwrap();
        }
        disk.crash();
        // The dying process cleans up; none of it may reach the disk.
        drop(tx);
        drop(db);
        assert_eq!(keys(&open(&disk)), (0..50).collect::<Vec<_>>());
        assert!(disk.usage().syncs > 0);
    }

    #[test]
    fn a_crash_at_any_commit_loses_nothing_of_the_commits_before() {
        for crashes_at in 1..20 {
            let disk = SimDisk::new();
            let db = open(&disk);
            (0..crashes_at).for_each(|key| put(&db, key));
            disk.crash();
            drop(db);
            let db = open(&disk);
            assert_eq!(keys(&db), (0..crashes_at).collect::<Vec<_>>());
            put(&db, 99);
            assert_eq!(keys(&db).last(), Some(&99));
        }
    }

    #[test]
    fn unsynced_bytes_are_lost_and_counted() {
        let disk = SimDisk::new();
        let handle = disk.open();
        handle.set_len(8).unwrap();
        handle.write(0, b"durable!").unwrap();
        handle.sync_data().unwrap();
        handle.write(4, b"lost").unwrap();
        handle.set_len(2).unwrap();
        handle.set_len(16).unwrap();
        assert_eq!(disk.crash(), 3);
        assert!(
            handle.write(0, b"x").is_err() && handle.sync_data().is_err() && handle.len().is_err()
        );
        let handle = disk.open();
        let mut bytes = [0; 8];
        handle.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"durable!");
        assert_eq!(handle.len().unwrap(), 8);
        assert_eq!(
            disk.usage(),
            DiskUsage {
                writes: 2,
                syncs: 1,
                lost: 3,
                replaced: 0,
            }
        );
    }

    #[test]
    fn a_torn_write_leaves_some_sectors_and_the_database_whole() {
        // A generator of its own, so that each round tears elsewhere and the test repeats.
        let mut state = 1u64;
        let mut coin = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 63 == 1
        };
        let mut torn = 0;
        for committed in 1..12 {
            let disk = SimDisk::new();
            let db = open(&disk);
            (0..committed).for_each(|key| put(&db, key));
            let tx = db.begin_write().unwrap();
            for key in 1000..1200 {
                let mut table = tx.open_table(ROWS).unwrap();
                table.insert(key, [1u8; 2000].as_slice()).unwrap();
            }
            // The commit writes, but what it wrote is never synced: the power fails between the two.
            disk.set_trouble(Trouble::SyncFails);
            assert!(tx.commit().is_err());
            torn += disk.crash_torn(&mut coin);
            disk.set_trouble(Trouble::None);
            drop(db);
            assert_eq!(keys(&open(&disk)), (0..committed).collect::<Vec<_>>());
        }
        assert!(torn > 0);
    }

    #[test]
    fn no_changed_bit_makes_a_node_read_what_was_never_written() {
        use smartnodes_node::store::{Store, StoreError, Table};
        const ROWS: u64 = 40;
        const FLIPS: u64 = 600;
        let row = |key: u64| vec![key as u8; 200];
        let disk = SimDisk::new();
        let store = Store::open(disk.open()).expect("an empty disk");
        for key in 0..ROWS {
            let key_bytes = key.to_be_bytes();
            store.put(Table::Votes, &key_bytes, &row(key)).unwrap();
        }
        disk.crash();
        drop(store);
        let whole = disk.lock().durable.clone();
        let mut state = 7u64;
        let mut draw = |count: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % count
        };
        let (mut refused, mut rolled_back) = (0, 0);
        for _ in 0..FLIPS {
            let disk = SimDisk::new();
            {
                let mut images = disk.lock();
                images.durable.clone_from(&whole);
                images.volatile.clone_from(&whole);
            }
            let at = disk.flip(&mut draw).expect("the disk holds a database");
            assert!(disk.is_damaged());
            let store = match Store::open(disk.open()) {
                Ok(store) => store,
                Err(StoreError::Damaged { .. } | StoreError::Database { .. }) => {
                    refused += 1;
                    disk.replace();
                    assert!(!disk.is_damaged() && disk.usage().replaced == 1);
                    assert!(Store::open(disk.open()).is_ok());
                    continue;
                }
                Err(error) => panic!("bit {at}: {error}"),
            };
            let rows = store.scan::<Vec<u8>>(Table::Votes).unwrap();
            for (place, (key, value)) in rows.iter().enumerate() {
                assert_eq!(key.as_slice(), (place as u64).to_be_bytes(), "bit {at}");
                assert_eq!(*value, row(place as u64), "bit {at}");
            }
            // The last commit may be damaged, and the one before it whole.
            assert!(rows.len() as u64 >= ROWS - 1, "bit {at}: {}", rows.len());
            rolled_back += u64::from((rows.len() as u64) < ROWS);
        }
        assert!(
            refused > 0 && rolled_back < FLIPS / 10,
            "{refused} refused, {rolled_back} rolled back"
        );
        assert_eq!(SimDisk::new().flip(|_| 0), None, "nothing is written yet");
    }

    #[test]
    fn a_troubled_disk_says_so_and_counts() {
        let disk = SimDisk::new();
        let handle = disk.open();
        handle.set_len(8).unwrap();
        assert_eq!(disk.set_trouble(Trouble::Full), 0);
        assert_eq!(
            handle.write(0, b"x").unwrap_err().kind(),
            ErrorKind::StorageFull
        );
        assert!(handle.set_len(9).is_err());
        handle.sync_data().unwrap();
        assert_eq!(disk.set_trouble(Trouble::SyncFails), 2);
        handle.write(0, b"x").unwrap();
        assert!(handle.sync_data().is_err());
        let slept = Arc::new(Mutex::new(0));
        let counted = slept.clone();
        let wait = move || *counted.lock().unwrap() += 1;
        assert_eq!(disk.set_trouble(Trouble::Slow(Arc::new(wait))), 1);
        handle.sync_data().unwrap();
        assert_eq!(
            (disk.set_trouble(Trouble::None), *slept.lock().unwrap()),
            (1, 1)
        );
    }

    #[test]
    fn bounds_are_kept() {
        let handle = SimDisk::new().open();
        assert!(handle.read(0, &mut [0; 1]).is_err());
        assert!(handle.write(u64::MAX, b"x").is_err());
        assert!(handle.set_len(CAPACITY_BYTES_MAX + 1).is_err());
        let shrunk_and_grown = {
            handle.set_len(4).unwrap();
            handle.write(0, b"abcd").unwrap();
            handle.sync_data().unwrap();
            handle.set_len(0).unwrap();
            handle.set_len(4).unwrap();
            handle.sync_data().unwrap();
            let disk = handle.disk.clone();
            disk.crash();
            let mut bytes = [1; 4];
            disk.open().read(0, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(shrunk_and_grown, [0; 4]);
    }
}
