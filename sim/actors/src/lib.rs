//! Participants that do not play by the rules: what an attacker would build, from the node's public library at its lowest
//! layers. The product knows nothing of them.
//!
//! They run in both worlds: on the simulator's hosts, and on real sockets beside the processes of the local testnet.

mod deeds;
pub mod peer;
mod stand;
mod statement;
pub mod user;
mod validator;
pub mod worker;

pub use deeds::Deeds;
pub use stand::{RawStream, RawWire, Stand, Victim};
pub use statement::Speaker;
pub use validator::{FalseValidator, Group, ValidatorMisdeed};
pub use worker::{FalseWorker, Misdeed};
