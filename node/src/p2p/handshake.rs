//! The role handshake: who stands behind a PeerId, as far as the chain bears it out.
//!
//! Noise has authenticated the PeerId. Each side then asks the other for a [`RoleStatement`]: signed by the wallet
//! over both PeerIds, the asker's fresh nonce and an expiry, for one chain and one Core ([`Signed`]). It cannot be
//! replayed (nonce), relayed to a third node (both PeerIds) or used on another deployment (domain).

use alloy::primitives::{Address, B256};
use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use crate::signed::{Domain, SignatureError, Signed, Statement};

/// How long a role statement may be shown after it was made, in seconds of chain time.
pub const STATEMENT_LIFETIME_SECONDS: u64 = 120;
/// Most networks that one statement may name.
pub const NETWORKS_MAX: usize = 32;

/// What a node does in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Coordinates, verifies, proposes and votes; holds collateral.
    Validator,
    /// Executes tasks.
    Worker,
    /// Asks for jobs.
    User,
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Validator => "validator",
            Self::Worker => "worker",
            Self::User => "user",
        })
    }
}

/// A node's word on what it is, for one asker and one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatement {
    /// The role claimed.
    pub role: Role,
    /// The wallet that signs, is paid, and holds the collateral.
    pub wallet: Address,
    /// Networks that a worker serves.
    pub networks: Vec<String>,
    /// Tasks that a worker runs at once; zero for others.
    pub capacity: u32,
    /// PeerId bytes of the node that makes the statement.
    pub prover: Vec<u8>,
    /// PeerId bytes of the node that asked.
    pub verifier: Vec<u8>,
    /// The asker's nonce.
    pub nonce: B256,
    /// Chain time (seconds) after which the statement is void.
    pub expires_at: u64,
}

impl Statement for RoleStatement {
    const TAG: &'static str = "role";
}

/// Why a role statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Made by or for another peer: a relay.
    #[error("the statement is about another connection ({0} differs): it was relayed")]
    WrongPeer(&'static str),
    /// Not the nonce that was sent: a replay.
    #[error("the statement answers another nonce: it was replayed")]
    WrongNonce,
    /// Too old, or too far ahead.
    #[error("the statement is valid until {expires_at}, but chain time is {now}")]
    Expired {
        /// Expiry named in the statement, chain seconds.
        expires_at: u64,
        /// Chain time of the check, seconds.
        now: u64,
    },
    /// More networks than allowed.
    #[error("the statement names {0} networks, at most {NETWORKS_MAX} are allowed")]
    TooManyNetworks(usize),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl HandshakeError {
    /// Whether an honest peer cannot have made the statement. Clocks may differ.
    pub fn is_false(&self) -> bool {
        !matches!(self, Self::Expired { .. })
    }
}

/// Checks all of a statement that needs no chain: that `peer` made it, for `me`, in answer to `nonce`, now.
pub fn check_statement(
    statement: &Signed<RoleStatement>,
    domain: &Domain,
    peer: &PeerId,
    me: &PeerId,
    nonce: B256,
    now: u64,
) -> Result<(), HandshakeError> {
    let body = &statement.body;
    if body.prover != peer.to_bytes() {
        return Err(HandshakeError::WrongPeer("prover"));
    }
    if body.verifier != me.to_bytes() {
        return Err(HandshakeError::WrongPeer("verifier"));
    }
    if body.nonce != nonce {
        return Err(HandshakeError::WrongNonce);
    }
    // Twice the lifetime ahead allows for two nodes that have seen different heads.
    let latest = now.saturating_add(2 * STATEMENT_LIFETIME_SECONDS);
    if body.expires_at < now || body.expires_at > latest {
        return Err(HandshakeError::Expired {
            expires_at: body.expires_at,
            now,
        });
    }
    if body.networks.len() > NETWORKS_MAX {
        return Err(HandshakeError::TooManyNetworks(body.networks.len()));
    }
    statement.verify(domain, body.wallet)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::signers::local::PrivateKeySigner;

    fn domain() -> Domain {
        Domain {
            chain_id: 1,
            core: Address::repeat_byte(1),
            coordinator: Address::repeat_byte(2),
        }
    }

    fn statement(prover: &PeerId, verifier: &PeerId, nonce: B256) -> Signed<RoleStatement> {
        let wallet = PrivateKeySigner::from_bytes(&B256::repeat_byte(4)).expect("a valid scalar");
        let body = RoleStatement {
            role: Role::Worker,
            wallet: wallet.address(),
            networks: vec!["hash-chain".into()],
            capacity: 1,
            prover: prover.to_bytes(),
            verifier: verifier.to_bytes(),
            nonce,
            expires_at: 1_000,
        };
        Signed::sign(body, &domain(), &wallet)
    }

    #[test]
    fn replays_relays_and_stale_statements_are_refused() {
        let (a, b, c) = (PeerId::random(), PeerId::random(), PeerId::random());
        let nonce = B256::repeat_byte(9);
        let good = statement(&a, &b, nonce);
        assert_eq!(
            check_statement(&good, &domain(), &a, &b, nonce, 990),
            Ok(())
        );
        assert_eq!(
            check_statement(&good, &domain(), &a, &b, B256::ZERO, 990),
            Err(HandshakeError::WrongNonce)
        );
        assert_eq!(
            check_statement(&good, &domain(), &c, &b, nonce, 990),
            Err(HandshakeError::WrongPeer("prover"))
        );
        assert_eq!(
            check_statement(&good, &domain(), &a, &c, nonce, 990),
            Err(HandshakeError::WrongPeer("verifier"))
        );
        assert!(matches!(
            check_statement(&good, &domain(), &a, &b, nonce, 1_001),
            Err(HandshakeError::Expired { .. })
        ));
        let mut forged = good.clone();
        forged.body.wallet = Address::repeat_byte(0xee);
        assert!(matches!(
            check_statement(&forged, &domain(), &a, &b, nonce, 990),
            Err(HandshakeError::Signature(_))
        ));
    }
}
