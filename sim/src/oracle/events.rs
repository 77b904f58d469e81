//! The contracts' events and calls that the oracle follows, read from a transaction.

use alloy::primitives::{Address, B256, Log, U256};
use alloy::sol;
use alloy::sol_types::{SolCall, SolEvent};
use smartnodes_evm::bindings::SmartnodesCoordinator::SmartnodesCoordinatorEvents;
use smartnodes_evm::bindings::SmartnodesCore::SmartnodesCoreEvents;
use smartnodes_evm::bindings::SmartnodesDAO::SmartnodesDAOEvents;
use smartnodes_evm::bindings::SmartnodesERC20::SmartnodesERC20Events;
use smartnodes_evm::deployment::Deployment;

sol! {
    #[allow(missing_docs)]
    interface Token {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event MerkleDistributionCreated(uint256 indexed distributionId, bytes32 merkleRoot, uint256 totalSnoRewards, uint256 totalEthRewards, uint256 timestamp);
        event DistributionExpired(uint256 distributionId);
        event TestnetRewardsClaimed(address indexed user, uint256 amount);
        event EthPaymentEscrowed(address indexed user, uint256 payment);
        event ETHDeposited(address indexed from, uint256 amount);
        event ETHWithdrawn(address indexed to, uint256 amount);
        event TokenRewardsClaimed(uint256 indexed distributionId, address indexed user, uint256 amount);
        function transfer(address to, uint256 value) external returns (bool);
        function totalSupply() external view returns (uint256);
        function s_totalUnclaimed() external view returns (uint128 sno, uint128 eth);
        function s_totalEscrowed() external view returns (uint128 sno, uint128 eth);
        function s_released() external view returns (uint128 sno, uint128 eth);
        function s_totalCredits() external view returns (uint128 sno, uint128 eth);
        function s_currentDistributionId() external view returns (uint256);
        function claimMerkleRewards(uint256 distributionId, uint256 capacity, bytes32[] calldata proof) external;
        function batchClaimMerkleRewards(uint256[] calldata distributionIds, uint256[] calldata capacities, bytes32[][] calldata proofs) external;
    }

    #[allow(missing_docs)]
    interface Core {
        event JobCreated(bytes32 indexed jobId, bytes32 indexed owner, string network, uint128 payment, bool payWithSNO);
        event JobCompleted(bytes32 indexed jobId, uint128 payment, bool payWithSNO);
        event JobCancelled(bytes32 indexed jobId, address indexed owner, uint128 payment);
    }

    #[allow(missing_docs)]
    interface Coordinator {
        struct ReputationChange { address account; int16 delta; }
        struct StateUpdate { bytes32 merkleRoot; uint256 totalCapacity; address[] validatorsToRemove; bytes32[] jobIds; bytes32 workersHash; bytes32 capacitiesHash; ReputationChange[] reputationChanges; }
        event ValidatorAdded(address indexed validator);
        event ValidatorRemoved(address indexed validator);
        event ConfigUpdated(uint256 updateTime);
        event ApprovalPercentageUpdated(uint8 oldPercent, uint8 newPercent);
        event NewRoundStarted(uint256 indexed roundNumber, address[] selectedValidators);
        event RoundOpened(uint64 indexed round, uint64 snapshotCount, uint64 requiredApprovals);
        event ProposalCreated(uint256 indexed proposalId, bytes32 indexed proposalHash, address indexed creator);
        event VoteCast(uint64 indexed round, address indexed validator, uint8 proposalNum, bytes32 proposalHash);
        event StateUpdateExecuted(uint64 indexed round, bytes32 indexed proposalHash, uint64 indexed distributionId, address executor);
        function executeProposal(uint8 proposalNum, StateUpdate calldata update) external;
    }
}

/// Begins the call that executes an update.
pub(super) const EXECUTE_SELECTOR: [u8; 4] = Coordinator::executeProposalCall::SELECTOR;

/// One thing that a transaction did, in terms of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// SNO came into being.
    Minted(U256),
    /// SNO ceased to be.
    Burned(U256),
    /// SNO that the token's contract held was sent to somebody.
    Paid { to: Address, amount: U256 },
    /// A distribution was made: SNO of the whole pool.
    Distributed { id: u64, pool: U256 },
    /// A distribution can no longer be claimed from.
    Expired { id: u64 },
    /// A reward was paid out.
    Claimed {
        id: u64,
        account: Address,
        amount: U256,
    },
    /// The call that asks for a reward: the capacity in its leaf.
    ClaimCall {
        id: u64,
        account: Address,
        capacity: U256,
    },
    /// A reward of a testnet was paid out.
    TestnetClaimed { account: Address, amount: U256 },
    /// ETH came to the token's contract as a payment.
    EthCame(U256),
    /// ETH was given to the token's contract.
    EthGiven(U256),
    /// ETH left the token's contract.
    EthLeft(U256),
    /// Governance set the update interval of later periods, in seconds.
    IntervalSet(u64),
    /// Governance set the approval percentage of later rounds.
    ApprovalSet(u64),
    /// A payment was escrowed for a job.
    JobCreated { job: B256, payment: u128, sno: bool },
    /// A job was settled by an update.
    JobCompleted { job: B256, payment: u128, sno: bool },
    /// A job was called off and its payment given back.
    JobCancelled { job: B256 },
    /// A validator entered the set.
    ValidatorAdded(Address),
    /// A validator left the set.
    ValidatorRemoved(Address),
    /// These are drawn to propose in the round that opens.
    Drawn(Vec<Address>),
    /// A round opened.
    RoundOpened {
        round: u64,
        snapshot: u64,
        required: u64,
    },
    /// A state update was proposed in the open round.
    Proposed { number: u64, proposal: B256 },
    /// A vote was cast.
    Voted {
        round: u64,
        validator: Address,
        proposal: B256,
    },
    /// An update was executed.
    Executed {
        round: u64,
        proposal: B256,
        distribution: u64,
    },
    /// The call that executes an update: what it settles.
    ExecuteCall { capacity: U256, jobs: Vec<B256> },
}

/// Which of [`smartnodes_evm::names::events`] a log is, if any.
pub(super) fn name(deployment: &Deployment, log: &Log) -> Option<String> {
    let topic = log.topics().first()?.0;
    let (contract, name) = match log.address {
        a if a == deployment.token => (
            "SmartnodesERC20",
            SmartnodesERC20Events::name_by_selector(topic)?,
        ),
        a if a == deployment.core => (
            "SmartnodesCore",
            SmartnodesCoreEvents::name_by_selector(topic)?,
        ),
        a if a == deployment.coordinator => (
            "SmartnodesCoordinator",
            SmartnodesCoordinatorEvents::name_by_selector(topic)?,
        ),
        a if a == deployment.dao => (
            "SmartnodesDAO",
            SmartnodesDAOEvents::name_by_selector(topic)?,
        ),
        _ => return None,
    };
    Some(format!("{contract}.{name}"))
}

/// What a transaction did: its call first, then its logs in their order. Logs of other contracts are passed over, as
/// are amounts beyond the protocol's own types, which the contracts cannot emit.
pub(super) fn decode<'a>(
    deployment: &Deployment,
    logs: impl Iterator<Item = &'a Log>,
    call: Option<(Address, &[u8])>,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    if let Some((account, data)) = call {
        if let Ok(call) = Token::claimMerkleRewardsCall::abi_decode(data) {
            seen.push(Seen::ClaimCall {
                id: small(call.distributionId),
                account,
                capacity: call.capacity,
            });
        } else if let Ok(call) = Token::batchClaimMerkleRewardsCall::abi_decode(data) {
            let claims = call.distributionIds.into_iter().zip(call.capacities);
            seen.extend(claims.map(|(id, capacity)| Seen::ClaimCall {
                id: small(id),
                account,
                capacity,
            }));
        } else if let Ok(call) = Coordinator::executeProposalCall::abi_decode(data) {
            seen.push(Seen::ExecuteCall {
                capacity: call.update.totalCapacity,
                jobs: call.update.jobIds,
            });
        }
    }
    for log in logs {
        let event = match log.address {
            a if a == deployment.token => token_event(log),
            a if a == deployment.core => core_event(log),
            a if a == deployment.coordinator => coordinator_event(log),
            _ => None,
        };
        seen.extend(event);
    }
    seen
}

fn token_event(log: &Log) -> Option<Seen> {
    if let Ok(e) = Token::Transfer::decode_log(log) {
        return match (e.from, e.to) {
            (Address::ZERO, _) => Some(Seen::Minted(e.value)),
            (_, Address::ZERO) => Some(Seen::Burned(e.value)),
            (from, to) if from == log.address => Some(Seen::Paid {
                to,
                amount: e.value,
            }),
            _ => None,
        };
    }
    if let Ok(e) = Token::MerkleDistributionCreated::decode_log(log) {
        return Some(Seen::Distributed {
            id: small(e.distributionId),
            pool: e.totalSnoRewards,
        });
    }
    if let Ok(e) = Token::DistributionExpired::decode_log(log) {
        return Some(Seen::Expired {
            id: small(e.distributionId),
        });
    }
    if let Ok(e) = Token::TestnetRewardsClaimed::decode_log(log) {
        let (account, amount) = (e.user, e.amount);
        return Some(Seen::TestnetClaimed { account, amount });
    }
    if let Ok(e) = Token::EthPaymentEscrowed::decode_log(log) {
        return Some(Seen::EthCame(e.payment));
    }
    if let Ok(e) = Token::ETHDeposited::decode_log(log) {
        return Some(Seen::EthGiven(e.amount));
    }
    if let Ok(e) = Token::ETHWithdrawn::decode_log(log) {
        return Some(Seen::EthLeft(e.amount));
    }
    let e = Token::TokenRewardsClaimed::decode_log(log).ok()?;
    Some(Seen::Claimed {
        id: small(e.distributionId),
        account: e.user,
        amount: e.amount,
    })
}

fn core_event(log: &Log) -> Option<Seen> {
    if let Ok(e) = Core::JobCreated::decode_log(log) {
        return Some(Seen::JobCreated {
            job: e.jobId,
            payment: e.payment,
            sno: e.payWithSNO,
        });
    }
    if let Ok(e) = Core::JobCompleted::decode_log(log) {
        return Some(Seen::JobCompleted {
            job: e.jobId,
            payment: e.payment,
            sno: e.payWithSNO,
        });
    }
    let e = Core::JobCancelled::decode_log(log).ok()?;
    Some(Seen::JobCancelled { job: e.jobId })
}

fn coordinator_event(log: &Log) -> Option<Seen> {
    if let Ok(e) = Coordinator::VoteCast::decode_log(log) {
        return Some(Seen::Voted {
            round: e.round,
            validator: e.validator,
            proposal: e.proposalHash,
        });
    }
    if let Ok(e) = Coordinator::NewRoundStarted::decode_log(log) {
        return Some(Seen::Drawn(e.data.selectedValidators));
    }
    if let Ok(e) = Coordinator::ProposalCreated::decode_log(log) {
        return Some(Seen::Proposed {
            number: small(e.proposalId),
            proposal: e.proposalHash,
        });
    }
    if let Ok(e) = Coordinator::StateUpdateExecuted::decode_log(log) {
        let (round, proposal, distribution) = (e.round, e.proposalHash, e.distributionId);
        return Some(Seen::Executed {
            round,
            proposal,
            distribution,
        });
    }
    if let Ok(e) = Coordinator::RoundOpened::decode_log(log) {
        let (round, snapshot, required) = (e.round, e.snapshotCount, e.requiredApprovals);
        return Some(Seen::RoundOpened {
            round,
            snapshot,
            required,
        });
    }
    if let Ok(e) = Coordinator::ConfigUpdated::decode_log(log) {
        return Some(Seen::IntervalSet(small(e.updateTime)));
    }
    if let Ok(e) = Coordinator::ApprovalPercentageUpdated::decode_log(log) {
        return Some(Seen::ApprovalSet(e.newPercent.into()));
    }
    if let Ok(e) = Coordinator::ValidatorAdded::decode_log(log) {
        return Some(Seen::ValidatorAdded(e.validator));
    }
    let e = Coordinator::ValidatorRemoved::decode_log(log).ok()?;
    Some(Seen::ValidatorRemoved(e.validator))
}

/// An id as the protocol counts it.
fn small(id: U256) -> u64 {
    id.saturating_to()
}
