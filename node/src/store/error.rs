//! What can go wrong with the store.

use super::Table;

/// An operation on the [`Store`](super::Store) failed. Nothing was changed by it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the disk under it failed.
    #[error(
        "the node's database could not {doing}: {source}; check the disk under the data directory (space, permissions, \
         another process that holds it), then restart the node"
    )]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The database's own error. Boxed, as it is large.
        source: Box<redb::Error>,
    },
    /// The disk does not hold any more what was written to it.
    #[error(
        "the node's database is damaged: {reason}; check the disk, then restore the data directory or start with an empty \
         one: what the node needs of the past it fetches from its peers"
    )]
    Damaged {
        /// What the database found.
        reason: String,
    },
    /// The database was written by another version of the node.
    #[error(
        "the node's database has schema version {found}, this node reads version {supported}; run the version that \
         wrote it, or start with an empty data directory"
    )]
    Schema {
        /// The version found.
        found: u32,
        /// The version that this node reads and writes.
        supported: u32,
    },
    /// A value cannot be expressed in CBOR.
    #[error("the value for table {table}, key 0x{key}, cannot be encoded: {reason}")]
    Encode {
        /// The table it was meant for.
        table: Table,
        /// The key, in hexadecimal.
        key: String,
        /// The encoder's reason.
        reason: String,
    },
    /// A stored value is not what the table should hold.
    #[error(
        "table {table}, key 0x{key}, holds a corrupted value: {reason}; delete the entry or restore the data directory"
    )]
    Corrupted {
        /// The table it is in.
        table: Table,
        /// The key, in hexadecimal.
        key: String,
        /// The decoder's reason.
        reason: String,
    },
}

impl StoreError {
    pub(super) fn database(doing: &'static str, source: impl Into<redb::Error>) -> Self {
        StoreError::Database {
            doing,
            source: Box::new(source.into()),
        }
    }
}
