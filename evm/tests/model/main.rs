//! The contracts beside the rule book: random sequences of calls by many actors over decades of virtual time, each call
//! predicted by a model in plain Rust and compared after it.
//!
//! ```text
//!   actions ─► resolve, offers ─► call ─┬─► contracts on the chain ─► verdict, events, views ─┐
//!   (abstract)      ▲                   └─► book (the rules) ───────► verdict, notes, views ──┴─► equal?
//!                   └──────── state ────────┘
//! ```
//!
//! The book keeps what the rule book speaks of, not what the contracts store: a snapshot is a set of accounts, escrow is
//! the sum over open jobs, a refusal is every reason that holds. All that it is told by the chain is the hash of the block
//! that draws the proposers.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SMARTNODES_SEQUENCES` | how many sequences to play (300) |
//! | `PROPTEST_RNG_SEED` | another seed than the fixed one; a failure prints the calls of the shortest sequence |

mod actions;
mod book;
mod calls;
mod collateral;
#[path = "../contracts_support/mod.rs"]
mod contracts_support;
mod coverage;
mod governance;
mod nodes;
mod offers;
mod play;
mod resolve;
mod rewards;
mod rounds;
mod token;
mod views;
mod world;
