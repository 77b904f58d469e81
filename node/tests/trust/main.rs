//! Whom a node believes, and what it makes of bytes that nobody honest sends.
#![cfg(not(madsim))]
#![allow(
    clippy::disallowed_methods,
    reason = "keystores and databases lie on the real disk"
)]

mod decoders;
mod handshake;
mod world;
