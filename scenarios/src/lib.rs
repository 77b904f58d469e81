//! Reads a scenario: the file that describes a simulated or local network, what its users do, which faults strike it and
//! when the run must be done.
//!
//! A scenario is a TOML file ([`Scenario::load`]); the library of them lies in the folders beside this crate
//! ([`library`]). What flows through: text in, one checked [`Scenario`] out, in domain types ([`Sno`], [`Percent`],
//! [`std::time::Duration`]) so that nothing behind it parses or guesses units. Every mistake in a file, an unknown field
//! as well as a schedule that cannot come true, is a [`ScenarioError`] with its line and column.
//!
//! What it never does: run anything, draw random values (a [`Moment`] or [`Victim`] left to the seed is drawn by the
//! simulator), or know what a node is.

mod act;
mod error;
mod fault;
mod file;
mod hosts;
mod library;
mod misdeed;
mod scenario;
mod schema;
mod spot;
mod units;
mod validator;
mod vocabulary;

pub use act::{Act, ActKind, ActTime, Change};
pub(crate) use error::Invalid;
pub use error::ScenarioError;
pub use fault::{
    Direction, Fault, FaultKind, Moment, PartitionStyle, Swarm, SwarmKind, Unsynced, Victim, When,
};
pub use hosts::{HostName, Role};
pub use library::{Entry, library};
pub use misdeed::{Misdeed, PeerMisdeed, UserMisdeed, WorkerMisdeed};
pub use scenario::{
    Chain, Ending, Endpoints, Expect, Guest, Job, Latency, Link, Network, Scenario, Transfer, User,
    Work,
};
pub use schema::schema;
pub use units::{Ether, Percent, Sno, duration};
pub use validator::{Limit, LimitError, Side, ValidatorMisdeed};
pub use vocabulary::Vocabulary;

/// What the contracts lock of a user's SNO when it registers: a paid job needs this besides its payment.
pub const USER_COLLATERAL: Sno = Sno::from_whole(100);

/// Most hosts that one scenario may have, of all roles together.
pub const HOSTS_MAX: usize = 500;
