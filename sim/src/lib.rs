//! Runs Smartnodes in one process on virtual time: the same node, the real contracts, one seed.
//!
//! ```text
//!            scenario + seed
//!                   │
//!                 world ──────────── builds hosts, strikes them with faults, plays the users' plan
//!      ┌────────────┼─────────────┐
//!   smartnodes-node (unchanged)   chain host ── revm, mined on virtual time
//!      │      │        │           │
//!    wire   disk   rpc transport ──┘            ◄─ the physics: all that is simulated
//!      └──────┴────────┴── trace ── hash        oracle ── violations
//! ```
//!
//! What flows through: a [`Scenario`](smartnodes_scenarios::Scenario) and a seed in, a [`run::Record`] out. What it never
//! does: start a thread, read the machine's clock or entropy, or replace anything of the node above its five seams.

#[cfg(not(madsim))]
compile_error!(
    "the simulator needs `--cfg madsim`: build it with `cargo sim …` or `cargo simtest`, and unset RUSTFLAGS (even an \
     empty one overrides the alias)"
);

#[cfg(madsim)]
pub mod acts;
#[cfg(madsim)]
pub mod aslr;
#[cfg(madsim)]
pub mod case;
#[cfg(madsim)]
pub mod chain_host;
#[cfg(madsim)]
pub mod check;
#[cfg(madsim)]
pub mod disk;
#[cfg(madsim)]
pub mod draw;
#[cfg(madsim)]
pub mod endpoints;
#[cfg(madsim)]
pub mod false_validator;
#[cfg(madsim)]
pub mod faults;
#[cfg(madsim)]
pub mod frame;
#[cfg(madsim)]
pub mod guard;
#[cfg(madsim)]
pub mod host;
#[cfg(madsim)]
pub mod identity;
#[cfg(madsim)]
mod limit;
#[cfg(madsim)]
pub mod net;
#[cfg(madsim)]
pub mod oracle;
#[cfg(madsim)]
pub mod output;
#[cfg(madsim)]
pub mod points;
#[cfg(madsim)]
pub mod reason;
#[cfg(madsim)]
mod refunds;
#[cfg(madsim)]
pub mod replay;
#[cfg(madsim)]
pub mod rpc_transport;
#[cfg(madsim)]
pub mod run;
#[cfg(madsim)]
pub mod shrink;
#[cfg(madsim)]
pub mod story;
#[cfg(madsim)]
pub mod sweep;
#[cfg(madsim)]
pub mod trace;
#[cfg(madsim)]
pub mod variant;
#[cfg(madsim)]
pub mod verdict;
#[cfg(madsim)]
pub mod violation;
#[cfg(madsim)]
pub mod vocabulary;
#[cfg(madsim)]
pub mod wire;
#[cfg(madsim)]
pub mod world;
