use super::*;
use redb::{ReadableTableMetadata, StorageBackend};
use std::{
    io,
    sync::{Arc, Mutex},
};

/// A disk that keeps what was synced apart from what was only written.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Images>>);

#[derive(Debug, Default)]
struct Images {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    failing: bool,
}

impl Disk {
    /// The disk as it comes up after power was lost.
    fn after_power_loss(&self) -> Disk {
        let durable = self.0.lock().unwrap().durable.clone();
        Disk(Arc::new(Mutex::new(Images {
            volatile: durable.clone(),
            durable,
            failing: false,
        })))
    }

    fn fail(&self) {
        self.0.lock().unwrap().failing = true;
    }

    fn usable(&self) -> io::Result<std::sync::MutexGuard<'_, Images>> {
        let images = self.0.lock().unwrap();
        if images.failing {
            return Err(io::Error::other("the disk is gone"));
        }
        Ok(images)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.usable()?.volatile.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        let images = self.usable()?;
        let range = images.volatile.get(offset..offset + out.len());
        out.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.usable()?.volatile.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut images = self.usable()?;
        images.durable = images.volatile.clone();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = offset as usize;
        self.usable()?.volatile[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn what_was_put_survives_the_loss_of_power() {
    let disk = Disk::default();
    let store = Store::open(disk.clone()).unwrap();
    store
        .put(Table::Votes, b"round 1", &("hash", 7u64))
        .unwrap();
    let store = Store::open(disk.after_power_loss()).unwrap();
    let vote: Option<(String, u64)> = store.get(Table::Votes, b"round 1").unwrap();
    assert_eq!(vote, Some(("hash".into(), 7)));
    assert_eq!(
        store.get::<u64>(Table::Jobs, b"round 1").unwrap(),
        None,
        "tables are separate"
    );
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all() {
    let store = Store::open(Disk::default()).unwrap();
    store.put(Table::Jobs, b"a", &1u8).unwrap();
    let failed = store.write(|batch| {
        batch.put(Table::Jobs, b"b", &2u8)?;
        batch.delete(Table::Jobs, b"a")?;
        Err(StoreError::Schema {
            found: 0,
            supported: 0,
        })
    });
    assert!(failed.is_err());
    assert_eq!(store.scan::<u8>(Table::Jobs).unwrap(), [(b"a".to_vec(), 1)]);

    store
        .write(|batch| {
            batch.put(Table::Jobs, b"b", &2u8)?;
            batch.put(Table::Receipts, b"r", &3u8)?;
            batch.delete(Table::Jobs, b"a")
        })
        .unwrap();
    assert_eq!(store.scan::<u8>(Table::Jobs).unwrap(), [(b"b".to_vec(), 2)]);
    assert_eq!(store.get::<u8>(Table::Receipts, b"r").unwrap(), Some(3));
}

#[test]
fn a_scan_is_in_key_order() {
    let store = Store::open(Disk::default()).unwrap();
    for key in [3u8, 1, 2] {
        store.put(Table::Records, &[key], &key).unwrap();
    }
    store.delete(Table::Records, &[9]).unwrap();
    let keys: Vec<u8> = store
        .scan::<u8>(Table::Records)
        .unwrap()
        .into_iter()
        .map(|(_, v)| v)
        .collect();
    assert_eq!(keys, [1, 2, 3]);
}

#[test]
fn a_corrupted_value_is_an_error_that_names_table_and_key() {
    let store = Store::open(Disk::default()).unwrap();
    let raw = |bytes: &[u8]| {
        let transaction = store.database.begin_write().unwrap();
        let mut table = transaction
            .open_table(Table::Payloads.definition())
            .unwrap();
        table.insert([0xab, 0xcd].as_slice(), bytes).unwrap();
        drop(table);
        transaction.commit().unwrap();
        store
            .get::<u64>(Table::Payloads, &[0xab, 0xcd])
            .unwrap_err()
            .to_string()
    };
    let text = raw(&[0xff, 0x00]);
    assert!(
        text.contains("table payloads") && text.contains("0xabcd"),
        "{text}"
    );
    let text = raw(&[0x01, 0x02]);
    assert!(text.contains("1 bytes follow the value"), "{text}");
    assert!(store.scan::<u64>(Table::Payloads).is_err());
}

#[test]
fn a_database_of_another_schema_is_refused() {
    let disk = Disk::default();
    let store = Store::open(disk.clone()).unwrap();
    let transaction = store.database.begin_write().unwrap();
    transaction
        .open_table(SCHEMA)
        .unwrap()
        .insert("version", 99)
        .unwrap();
    transaction.commit().unwrap();
    let error = Store::open(disk.after_power_loss()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Schema {
                found: 99,
                supported: SCHEMA_VERSION
            }
        ),
        "{error}"
    );
}

#[test]
fn opening_again_keeps_every_table() {
    let disk = Disk::default();
    drop(Store::open(disk.clone()).unwrap());
    let store = Store::open(disk).unwrap();
    for table in Table::ALL {
        let opened = store.read_table(table, "count").unwrap();
        assert_eq!(opened.len().unwrap(), 0, "{table}");
    }
}

#[test]
fn a_failing_disk_is_an_error() {
    let disk = Disk::default();
    let store = Store::open(disk.clone()).unwrap();
    disk.fail();
    let error = store.put(Table::Meta, b"k", &1u8).unwrap_err();
    assert!(error.to_string().contains("check the disk"), "{error}");
}
