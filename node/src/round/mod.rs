//! State updates: from verified receipts to an executed distribution, and from there to claims.
//!
//! ```text
//! receipts ──aggregate──▶ payload ──publish (DHT)──▶ proposal on chain
//!                            ▲                            │
//!     voters recompute ──────┘ judge ◀── fetch ◀──────────┤
//!                                │                        ▼
//!                                └──── vote ──▶ threshold ──▶ execute ──▶ settle receipts, serve proofs
//! ```

mod aggregate;
pub mod claims;
mod collect;
pub mod driver;
mod earnings;
mod isolation;
pub mod judge;
pub mod payload;
pub mod payloads;
mod retention;
pub mod settle;
#[cfg(test)]
mod tests;
pub mod timing;
