//! Keeps what a node must not forget: receipts, payloads, jobs, votes, transactions.
//!
//! One redb database over a [`redb::StorageBackend`], so that a real file and a simulated disk are used by the same code.
//! Values are CBOR. Every write is one transaction, synced to the disk before it returns: a caller that has seen `Ok`
//! may act on what it stored, and after a crash finds either all of a write or nothing of it.

mod error;
#[cfg(test)]
pub(crate) mod rows;
#[cfg(test)]
mod tests;

pub use error::StoreError;

use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc};

use crate::failpoint::fail_point;

/// The layout of the tables below. A database with another number is refused rather than misread.
const SCHEMA_VERSION: u32 = 4;
const SCHEMA: TableDefinition<'static, &'static str, u32> = TableDefinition::new("schema");

/// Page cache of one node, in bytes. Its working set is small, and a simulated network keeps many nodes in one process.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// The tables of a node's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Signed receipts, own and others'.
    Receipts,
    /// State-update payloads by their hash.
    Payloads,
    /// Jobs and the steps they have taken.
    Jobs,
    /// Votes, recorded before they are sent.
    Votes,
    /// The journal of chain transactions.
    Transactions,
    /// Records of the DHT.
    Records,
    /// Provider records of the DHT, by network.
    Providers,
    /// Banned peers.
    Bans,
    /// Anything a node keeps one of.
    Meta,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 9] = [
        Table::Receipts,
        Table::Payloads,
        Table::Jobs,
        Table::Votes,
        Table::Transactions,
        Table::Records,
        Table::Providers,
        Table::Bans,
        Table::Meta,
    ];

    /// The table's name in the database and in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Receipts => "receipts",
            Table::Payloads => "payloads",
            Table::Jobs => "jobs",
            Table::Votes => "votes",
            Table::Transactions => "transactions",
            Table::Records => "records",
            Table::Providers => "providers",
            Table::Bans => "bans",
            Table::Meta => "meta",
        }
    }

    const fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A node's database. Clones share it.
#[derive(Clone)]
pub struct Store {
    database: Arc<redb::Database>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database on `backend`, repairing it after a crash, and creates what an empty one lacks. All of it is read
    /// and checked: what has changed on the disk since it was written is refused here rather than acted upon.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the disk does not hold any more what was written to it.
    pub fn open(backend: impl redb::StorageBackend) -> Result<Store, StoreError> {
        let database = redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|e| match e {
                redb::DatabaseError::Storage(redb::StorageError::Corrupted(reason)) => {
                    StoreError::Damaged { reason }
                }
                other => StoreError::database("open the database", other),
            })?;
        let store = Store {
            database: Arc::new(database),
        };
        store.prepare()?;
        Ok(store)
    }

    /// A database that lasts as long as its handles: for whoever has nothing to remember.
    pub fn in_memory() -> Result<Store, StoreError> {
        Self::open(redb::backends::InMemoryBackend::new())
    }

    /// Checks the schema version, and in a new database writes it and creates the tables.
    fn prepare(&self) -> Result<(), StoreError> {
        const DOING: &str = "prepare the tables";
        let transaction = self.begin_write(DOING)?;
        {
            let mut schema = transaction
                .open_table(SCHEMA)
                .map_err(|e| StoreError::database(DOING, e))?;
            let found = schema
                .get("version")
                .map_err(|e| StoreError::database(DOING, e))?
                .map(|version| version.value());
            match found {
                Some(SCHEMA_VERSION) => {}
                Some(found) => {
                    return Err(StoreError::Schema {
                        found,
                        supported: SCHEMA_VERSION,
                    });
                }
                None => {
                    schema
                        .insert("version", SCHEMA_VERSION)
                        .map_err(|e| StoreError::database(DOING, e))?;
                }
            }
            for table in Table::ALL {
                transaction
                    .open_table(table.definition())
                    .map_err(|e| StoreError::database(DOING, e))?;
            }
        }
        transaction
            .commit()
            .map_err(|e| StoreError::database(DOING, e))
    }

    /// The value under `key`, or `None`.
    pub fn get<T: DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        const DOING: &str = "read a value";
        let found = self
            .read_table(table, DOING)?
            .get(key)
            .map_err(|e| StoreError::database(DOING, e))?;
        found
            .map(|bytes| decode(table, key, bytes.value()))
            .transpose()
    }

    /// Stores `value` under `key`, replacing what was there. Durable when it returns.
    pub fn put<T: Serialize>(&self, table: Table, key: &[u8], value: &T) -> Result<(), StoreError> {
        self.write(|batch| batch.put(table, key, value))
    }

    /// Removes what is under `key`, if anything. Durable when it returns.
    pub fn delete(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.write(|batch| batch.delete(table, key))
    }

    /// Every key and value of a table, in the order of the keys.
    pub fn scan<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        self.scan_prefix(table, &[])
    }

    /// Every key that begins with `prefix`, and its value, in the order of the keys.
    pub fn scan_prefix<T: DeserializeOwned>(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        let mut rows = Vec::new();
        self.visit(table, prefix, |key, value| rows.push((key.to_vec(), value)))?;
        Ok(rows)
    }

    /// Shows `see` every key that begins with `prefix`, and its value, in the order of the keys: one after the other, for
    /// tables that are larger than what should be in memory at once.
    pub fn visit<T: DeserializeOwned>(
        &self,
        table: Table,
        prefix: &[u8],
        mut see: impl FnMut(&[u8], T),
    ) -> Result<(), StoreError> {
        const DOING: &str = "scan a table";
        let opened = self.read_table(table, DOING)?;
        for row in opened
            .range(prefix..)
            .map_err(|e| StoreError::database(DOING, e))?
        {
            let (key, value) = row.map_err(|e| StoreError::database(DOING, e))?;
            if !key.value().starts_with(prefix) {
                break;
            }
            see(key.value(), decode(table, key.value(), value.value())?);
        }
        Ok(())
    }

    /// Runs `f` and makes everything it put and deleted durable at once; if it fails, nothing of it is kept.
    ///
    /// There is one writer at a time: `f` must write through its [`Batch`] only, never through the store. What it reads from
    /// the store is as it was before.
    pub fn write(
        &self,
        f: impl FnOnce(&mut Batch<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.begin_write("begin a write")?;
        let mut batch = Batch {
            transaction: &transaction,
            #[cfg(madsim)]
            first: "nothing",
        };
        f(&mut batch)?;
        #[cfg(madsim)]
        let first = batch.first;
        fail_point!(first, "write");
        transaction
            .commit()
            .map_err(|e| StoreError::database("commit a write", e))?;
        fail_point!(first, "written");
        Ok(())
    }

    fn begin_write(&self, doing: &'static str) -> Result<redb::WriteTransaction, StoreError> {
        // The default durability is kept: a commit returns after the backend has synced.
        self.database
            .begin_write()
            .map_err(|e| StoreError::database(doing, e))
    }

    fn read_table(
        &self,
        table: Table,
        doing: &'static str,
    ) -> Result<redb::ReadOnlyTable<&'static [u8], &'static [u8]>, StoreError> {
        self.database
            .begin_read()
            .map_err(|e| StoreError::database(doing, e))?
            .open_table(table.definition())
            .map_err(|e| StoreError::database(doing, e))
    }
}

/// The changes of one [`Store::write`].
pub struct Batch<'a> {
    transaction: &'a redb::WriteTransaction,
    /// The first table that was changed: it names the write's fail points.
    #[cfg(madsim)]
    first: &'static str,
}

impl Batch<'_> {
    /// Stores `value` under `key`, replacing what was there.
    pub fn put<T: Serialize>(
        &mut self,
        table: Table,
        key: &[u8],
        value: &T,
    ) -> Result<(), StoreError> {
        let bytes = encode(table, key, value)?;
        self.open(table)?
            .insert(key, bytes.as_slice())
            .map(drop)
            .map_err(|e| StoreError::database("store a value", e))
    }

    /// Removes what is under `key`, if anything.
    pub fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.open(table)?
            .remove(key)
            .map(drop)
            .map_err(|e| StoreError::database("delete a value", e))
    }

    fn open(
        &mut self,
        table: Table,
    ) -> Result<redb::Table<'_, &'static [u8], &'static [u8]>, StoreError> {
        #[cfg(madsim)]
        if self.first == "nothing" {
            self.first = table.name();
        }
        self.transaction
            .open_table(table.definition())
            .map_err(|e| StoreError::database("open a table", e))
    }
}

fn encode<T: Serialize>(table: Table, key: &[u8], value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|e| StoreError::Encode {
        table,
        key: alloy::hex::encode(key),
        reason: e.to_string(),
    })?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(table: Table, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let corrupted = |reason: String| StoreError::Corrupted {
        table,
        key: alloy::hex::encode(key),
        reason,
    };
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(|e| corrupted(e.to_string()))?;
    if !rest.is_empty() {
        return Err(corrupted(format!("{} bytes follow the value", rest.len())));
    }
    Ok(value)
}
