//! What a node wants done on chain.

use std::fmt;

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    sol_types::{SolCall, SolValue},
};
use smartnodes_evm::{
    bindings::{
        SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
    },
    deployment::Deployment,
    state_update::StateUpdate,
};

/// Something to be done on chain once. Two intents are the same if the fields that identify them (named below) are.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Moves the round on: seals the draw, draws, or rolls an expired round over. Several such steps belong to a round
    /// and the contract knows which is due, so this may be sent again after it was mined.
    OpenRound {
        /// The round that is due.
        round: u64,
    },
    /// Proposes a state update.
    Propose {
        /// The open round.
        round: u64,
        /// Hash of the update.
        hash: B256,
    },
    /// Votes for a proposal.
    Vote {
        /// The open round.
        round: u64,
        /// The proposal's number, from 1.
        number: u8,
        /// The hash voted for.
        hash: B256,
    },
    /// Executes a proposal.
    Execute {
        /// The open round.
        round: u64,
        /// The proposal's number, from 1.
        number: u8,
        /// The update that the proposal's hash binds.
        update: StateUpdate,
    },
    /// Claims a worker's reward; identified by the distribution.
    Claim {
        /// The distribution.
        distribution_id: u64,
        /// The worker's capacity in it.
        capacity: U256,
        /// Merkle proof.
        proof: Vec<B256>,
    },
    /// Collects the SNO that waits for this wallet ([`ChainClient::credits`](super::ChainClient::credits)).
    WithdrawSno {
        /// The last distribution when it was seen waiting: what later ones add is collected by another intent.
        distribution_id: u64,
    },
    /// Collects the ETH that waits for this wallet, as [`Intent::WithdrawSno`] does the SNO.
    WithdrawEth {
        /// The last distribution when it was seen waiting.
        distribution_id: u64,
    },
    /// Registers the wallet as a user.
    CreateUser {
        /// keccak256 of the network public key.
        key_hash: B256,
    },
    /// Registers the wallet as a validator.
    CreateValidator {
        /// keccak256 of the network public key.
        key_hash: B256,
    },
    /// Makes this wallet, a validator that has not voted for long, count again from the next round. It may fall inactive
    /// again, so this may be sent again after it was mined; from who is active it changes nothing.
    Reactivate {
        /// The current round.
        round: u64,
    },
    /// Replaces the network key that the wallet has registered.
    SetPublicKeyHash {
        /// keccak256 of the new network public key.
        key_hash: B256,
    },
    /// Escrows the payment for a job; identified by the job's hash.
    RequestJob {
        /// Hash of the job.
        job_hash: B256,
        /// The network that is to execute it.
        network: String,
        /// Payment, in SNO wei.
        payment: u128,
    },
    /// Takes the payment of one's own job back, which no update completed in time.
    CancelJob {
        /// The job's id.
        job: B256,
    },
    /// Sends SNO; identified by receiver, amount and reference.
    Transfer {
        /// The receiver.
        to: Address,
        /// Amount, in SNO wei.
        amount: U256,
        /// The sender's own mark: the same transfer with another reference is another transfer.
        reference: B256,
    },
}

/// The kind of [`Intent::Transfer`] in keys of the journal.
const TRANSFER: &str = "transfer";

/// The contract call of an intent. No intent sends ETH along.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) to: Address,
    pub(super) input: Bytes,
}

impl Intent {
    /// The kinds of intents, as fail points name them.
    pub(crate) const KINDS: [&'static str; 14] = [
        "open-round",
        "propose",
        "vote",
        "execute",
        "claim",
        "create-user",
        "create-validator",
        "request-job",
        "withdraw-sno",
        "withdraw-eth",
        "transfer",
        "cancel-job",
        "set-public-key-hash",
        "reactivate",
    ];

    /// Whether the same intent may be mined more than once.
    pub(super) fn repeatable(&self) -> bool {
        matches!(self, Intent::OpenRound { .. } | Intent::Reactivate { .. })
    }

    /// `wallet` is the sender, `user_key_hash` its credential as a user, which only [`Intent::RequestJob`] needs.
    pub(super) fn call(
        &self,
        deployment: &Deployment,
        wallet: Address,
        user_key_hash: B256,
    ) -> Call {
        let (to, input) = match self {
            Intent::OpenRound { .. } => (
                deployment.coordinator,
                Coordinator::openRoundCall {}.abi_encode(),
            ),
            Intent::Propose { hash, .. } => (
                deployment.coordinator,
                Coordinator::createProposalCall {
                    proposalHash: *hash,
                }
                .abi_encode(),
            ),
            Intent::Vote { number, hash, .. } => (
                deployment.coordinator,
                Coordinator::voteForProposalCall {
                    proposalNum: *number,
                    proposalHash: *hash,
                }
                .abi_encode(),
            ),
            Intent::Execute { number, update, .. } => (
                deployment.coordinator,
                Coordinator::executeProposalCall {
                    proposalNum: *number,
                    update: update.clone(),
                }
                .abi_encode(),
            ),
            Intent::Claim {
                distribution_id,
                capacity,
                proof,
            } => (
                deployment.token,
                Token::claimMerkleRewardsCall {
                    distributionId: U256::from(*distribution_id),
                    capacity: *capacity,
                    proof: proof.clone(),
                }
                .abi_encode(),
            ),
            Intent::WithdrawSno { .. } => {
                (deployment.token, Token::withdrawSnoCall {}.abi_encode())
            }
            Intent::WithdrawEth { .. } => (
                deployment.token,
                Token::withdrawEthCall { to: wallet }.abi_encode(),
            ),
            Intent::CreateUser { key_hash } => (
                deployment.core,
                Core::createUserCall {
                    publicKeyHash: *key_hash,
                }
                .abi_encode(),
            ),
            Intent::CreateValidator { key_hash } => (
                deployment.core,
                Core::createValidatorCall {
                    publicKeyHash: *key_hash,
                }
                .abi_encode(),
            ),
            Intent::Reactivate { .. } => (
                deployment.coordinator,
                Coordinator::reactivateCall {}.abi_encode(),
            ),
            Intent::SetPublicKeyHash { key_hash } => (
                deployment.core,
                Core::setPublicKeyHashCall {
                    publicKeyHash: *key_hash,
                }
                .abi_encode(),
            ),
            Intent::RequestJob {
                job_hash,
                network,
                payment,
            } => (
                deployment.core,
                Core::requestJobCall {
                    userHash: user_key_hash,
                    jobHash: *job_hash,
                    network: network.clone(),
                    // Only the interface wants capacities: what a job needs is in the request that its hash binds.
                    capacities: Vec::new(),
                    payment: *payment,
                }
                .abi_encode(),
            ),
            Intent::CancelJob { job } => (
                deployment.core,
                Core::cancelJobCall { jobId: *job }.abi_encode(),
            ),
            Intent::Transfer { to, amount, .. } => (
                deployment.token,
                Token::transferCall {
                    to: *to,
                    value: *amount,
                }
                .abi_encode(),
            ),
        };
        Call {
            to,
            input: input.into(),
        }
    }

    /// The journal's key: the kind in clear, for whoever inspects a database, then a hash of scope and identity.
    pub(super) fn key(&self, scope: B256) -> Vec<u8> {
        let (kind, identity) = match self {
            Intent::OpenRound { round } => ("open-round", round.abi_encode()),
            Intent::Propose { round, hash } => ("propose", (*round, *hash).abi_encode()),
            Intent::Vote {
                round,
                number,
                hash,
            } => ("vote", (*round, U256::from(*number), *hash).abi_encode()),
            // A reorganisation may leave another proposal under the same number.
            Intent::Execute {
                round,
                number,
                update,
            } => (
                "execute",
                (*round, U256::from(*number), keccak256(update.abi_encode())).abi_encode(),
            ),
            Intent::Claim {
                distribution_id, ..
            } => ("claim", distribution_id.abi_encode()),
            Intent::WithdrawSno { distribution_id } => {
                ("withdraw-sno", distribution_id.abi_encode())
            }
            Intent::WithdrawEth { distribution_id } => {
                ("withdraw-eth", distribution_id.abi_encode())
            }
            Intent::CreateUser { key_hash } => ("create-user", key_hash.abi_encode()),
            Intent::CreateValidator { key_hash } => ("create-validator", key_hash.abi_encode()),
            Intent::Reactivate { round } => ("reactivate", round.abi_encode()),
            Intent::SetPublicKeyHash { key_hash } => ("set-key-hash", key_hash.abi_encode()),
            Intent::RequestJob { job_hash, .. } => ("request-job", job_hash.abi_encode()),
            Intent::CancelJob { job } => ("cancel-job", job.abi_encode()),
            Intent::Transfer {
                to,
                amount,
                reference,
            } => (TRANSFER, (*to, *amount, *reference).abi_encode()),
        };
        let mut key = scope.to_vec();
        key.extend_from_slice(kind.as_bytes());
        key.push(b'/');
        key.extend_from_slice(keccak256(identity).as_slice());
        key
    }
}

/// Whether nothing but the journal keeps the intent under this key from being done twice. The contracts take no vote,
/// claim, job or registration a second time, and a round's steps belong to their round.
pub(super) fn done_once_only_here(key: &[u8]) -> bool {
    key.get(B256::len_bytes()..)
        .is_some_and(|kind| kind.starts_with(TRANSFER.as_bytes()))
}

#[cfg(madsim)]
impl Intent {
    /// Its kind, one of [`Intent::KINDS`].
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Intent::OpenRound { .. } => "open-round",
            Intent::Propose { .. } => "propose",
            Intent::Vote { .. } => "vote",
            Intent::Execute { .. } => "execute",
            Intent::Claim { .. } => "claim",
            Intent::CreateUser { .. } => "create-user",
            Intent::CreateValidator { .. } => "create-validator",
            Intent::RequestJob { .. } => "request-job",
            Intent::WithdrawSno { .. } => "withdraw-sno",
            Intent::WithdrawEth { .. } => "withdraw-eth",
            Intent::Transfer { .. } => "transfer",
            Intent::CancelJob { .. } => "cancel-job",
            Intent::SetPublicKeyHash { .. } => "set-public-key-hash",
            Intent::Reactivate { .. } => "reactivate",
        }
    }
}

/// In words that continue "refuses to …".
impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Intent::OpenRound { round } => write!(f, "open round {round}"),
            Intent::Propose { round, hash } => write!(f, "propose {hash} in round {round}"),
            Intent::Vote { round, number, .. } => {
                write!(f, "vote for proposal {number} of round {round}")
            }
            Intent::Execute { round, number, .. } => {
                write!(f, "execute proposal {number} of round {round}")
            }
            Intent::Claim {
                distribution_id, ..
            } => write!(f, "claim from distribution {distribution_id}"),
            Intent::WithdrawSno { .. } => write!(f, "collect the SNO that waits"),
            Intent::WithdrawEth { .. } => write!(f, "collect the ETH that waits"),
            Intent::CreateUser { .. } => write!(f, "register as a user"),
            Intent::CreateValidator { .. } => write!(f, "register as a validator"),
            Intent::Reactivate { round } => write!(f, "reactivate itself in round {round}"),
            Intent::SetPublicKeyHash { .. } => write!(f, "replace the network key"),
            Intent::RequestJob {
                job_hash, payment, ..
            } => {
                write!(f, "request job {job_hash} for {payment} wei of SNO")
            }
            Intent::CancelJob { job } => write!(f, "cancel job {job}"),
            Intent::Transfer { to, amount, .. } => write!(f, "send {amount} wei of SNO to {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_difference_in_identity_is_a_different_key() {
        let (a, b) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let transfer = |to: u8, amount, reference| Intent::Transfer {
            to: Address::repeat_byte(to),
            amount,
            reference,
        };
        let execute = |round, number, total| Intent::Execute {
            round,
            number,
            update: StateUpdate {
                merkleRoot: a,
                totalCapacity: U256::from(total),
                validatorsToRemove: Vec::new(),
                jobIds: Vec::new(),
                workersHash: a,
                capacitiesHash: a,
                reputationChanges: Vec::new(),
            },
        };
        let intents = [
            execute(1, 1, 5),
            execute(1, 1, 6),
            execute(1, 2, 5),
            execute(2, 1, 5),
            Intent::WithdrawSno { distribution_id: 1 },
            Intent::WithdrawSno { distribution_id: 2 },
            Intent::WithdrawEth { distribution_id: 1 },
            Intent::OpenRound { round: 1 },
            Intent::OpenRound { round: 2 },
            Intent::Propose { round: 1, hash: a },
            Intent::Propose { round: 1, hash: b },
            Intent::Vote {
                round: 1,
                number: 1,
                hash: a,
            },
            Intent::Vote {
                round: 1,
                number: 2,
                hash: a,
            },
            Intent::Vote {
                round: 2,
                number: 1,
                hash: a,
            },
            Intent::CreateUser { key_hash: a },
            Intent::CreateValidator { key_hash: a },
            Intent::CancelJob { job: a },
            Intent::SetPublicKeyHash { key_hash: a },
            Intent::SetPublicKeyHash { key_hash: b },
            Intent::Reactivate { round: 1 },
            Intent::Reactivate { round: 2 },
            transfer(1, U256::from(1), a),
            transfer(1, U256::from(2), a),
            transfer(2, U256::from(1), a),
            transfer(1, U256::from(1), b),
        ];
        let keys: BTreeSet<_> = intents.iter().flat_map(|i| [i.key(a), i.key(b)]).collect();
        assert_eq!(keys.len(), intents.len() * 2);
    }
}
