//! What the contracts say, as plain types.

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::BlockResponse,
    primitives::{Address, B256, U256},
    providers::Provider,
    rpc::types::{Filter, TransactionInput, TransactionRequest},
    sol_types::{SolCall, SolEvent},
};

use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

use super::{client::ChainClient, error::ChainError};

/// Blocks whose logs are asked for at once: public endpoints refuse wider ranges.
const LOG_BLOCKS_MAX: u64 = 5_000;
/// Most networks that the registry can have: their ids are a byte.
const NETWORKS_MAX: u64 = 256;

/// The latest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its timestamp, in seconds since the Unix epoch.
    pub timestamp: u64,
}

/// How far the current round has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundPhase {
    /// The round's due time has not come.
    Waiting,
    /// It may be opened: [`Intent::OpenRound`](super::Intent::OpenRound) fixes the block that decides the draw.
    Due,
    /// The block that decides the draw is not there yet.
    Sealed,
    /// [`Intent::OpenRound`](super::Intent::OpenRound) draws the proposers and opens the round.
    Drawable,
    /// Proposals, votes and execution.
    Open,
}

/// The state of the current round. Times are seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundStatus {
    /// The round's number.
    pub round: u64,
    /// How far it has come.
    pub phase: RoundPhase,
    /// When it may be opened.
    pub due_time: u64,
    /// When it was opened; 0 before.
    pub opened_at: u64,
    /// When it expires if nothing executes; 0 before it is open.
    pub expires_at: u64,
    /// Validators of the snapshot that still count.
    pub snapshot_count: u64,
    /// Votes that a proposal needs.
    pub required_approvals: u64,
    /// Proposals so far.
    pub proposal_count: u8,
    /// The id that the next distribution gets.
    pub next_distribution_id: u64,
    /// Seconds between two rounds.
    pub update_interval: u64,
}

/// A proposal of the current round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who proposed it.
    pub creator: Address,
    /// Its number in the round, from 1.
    pub number: u8,
    /// Votes so far.
    pub votes: u32,
    /// Hash of the update.
    pub hash: B256,
    /// When it was proposed, in seconds since the Unix epoch.
    pub created_at: u64,
}

/// The state of a job in Core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Its payment is in escrow.
    Open,
    /// An update completed it.
    Complete,
    /// Its owner cancelled it and was refunded.
    Cancelled,
}

/// A paid job as Core knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnChainJob {
    /// Who pays.
    pub owner: Address,
    /// The payment, in wei of SNO or ETH.
    pub payment: u128,
    /// Whether the payment is SNO; else it is ETH.
    pub pays_sno: bool,
    /// Its state.
    pub state: JobState,
    /// When it was requested, in seconds since the Unix epoch.
    pub created_at: u64,
    /// The network that is to execute it.
    pub network: String,
}

/// An executed state update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutedUpdate {
    /// Its round.
    pub round: u64,
    /// Hash of the proposal.
    pub proposal_hash: B256,
    /// The distribution that it created.
    pub distribution_id: u64,
    /// Who executed it.
    pub executor: Address,
    /// The number of its block.
    pub block: u64,
    /// The hash of its block.
    pub block_hash: B256,
}

/// What waits for an account in the token contract, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credits {
    /// SNO.
    pub sno: u128,
    /// ETH.
    pub eth: u128,
}

/// The workers' share of an executed update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Root of the reward tree; zero if no worker earned anything.
    pub merkle_root: B256,
    /// The workers' pool, in SNO wei.
    pub worker_reward_sno: u128,
    /// The workers' pool, in ETH wei.
    pub worker_reward_eth: u128,
    /// Sum of the workers' capacities.
    pub total_capacity: U256,
}

impl ChainClient {
    /// The latest block.
    pub async fn head(&self) -> Result<Head, ChainError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let block = self
            .request(METHOD, |provider| async move {
                provider.get_block_by_number(BlockNumberOrTag::Latest).await
            })
            .await?
            .ok_or_else(|| ChainError::Response {
                method: METHOD,
                reason: "there is no latest block".to_owned(),
            })?;
        let header = block.header();
        Ok(Head {
            number: header.number,
            timestamp: header.timestamp,
        })
    }

    /// The state of the current round.
    pub async fn round_status(&self) -> Result<RoundStatus, ChainError> {
        let status = self
            .view(
                self.deployment().coordinator,
                Coordinator::roundStatusCall {},
            )
            .await?;
        let phase = match status.phase {
            0 => RoundPhase::Waiting,
            1 => RoundPhase::Due,
            2 => RoundPhase::Sealed,
            3 => RoundPhase::Drawable,
            4 => RoundPhase::Open,
            unknown => {
                return Err(ChainError::Response {
                    method: "roundStatus",
                    reason: format!("phase {unknown} is not one of 0 to 4"),
                });
            }
        };
        Ok(RoundStatus {
            round: status.round,
            phase,
            due_time: status.dueTime,
            opened_at: status.openedAt,
            expires_at: status.expiresAt,
            snapshot_count: status.snapshotCount,
            required_approvals: status.requiredApprovals,
            proposal_count: status.proposalCount,
            next_distribution_id: status.nextDistributionId,
            update_interval: status.updateInterval,
        })
    }

    /// All validators.
    pub async fn validators(&self) -> Result<Vec<Address>, ChainError> {
        self.view(
            self.deployment().coordinator,
            Coordinator::getValidatorsCall {},
        )
        .await
    }

    /// Approvals that an update would need if all validators were in the round.
    pub async fn required_approvals(&self) -> Result<u64, ChainError> {
        let count = U256::from(self.validators().await?.len());
        let call = Coordinator::requiredApprovalsForCall { count };
        let required: U256 = self.view(self.deployment().coordinator, call).await?;
        Ok(required.saturating_to())
    }

    /// The validators drawn to propose in the current round.
    pub async fn proposers(&self) -> Result<Vec<Address>, ChainError> {
        self.view(
            self.deployment().coordinator,
            Coordinator::getCurrentRoundValidatorsCall {},
        )
        .await
    }

    /// The hash of the network key that `account` registered; zero if it did not.
    pub async fn credential_of(&self, account: Address) -> Result<B256, ChainError> {
        self.view(self.deployment().core, Core::credentialOfCall { account })
            .await
    }

    /// Whether `account` is a validator in good standing with this network key.
    pub async fn is_verified_validator(
        &self,
        account: Address,
        key_hash: B256,
    ) -> Result<bool, ChainError> {
        self.view(
            self.deployment().core,
            Core::isVerifiedValidatorCall {
                account,
                publicKeyHash: key_hash,
            },
        )
        .await
    }

    /// Whether `account` is a validator that has voted, or reactivated itself, lately enough to count in a next round.
    pub async fn is_active(&self, account: Address) -> Result<bool, ChainError> {
        self.view(
            self.deployment().coordinator,
            Coordinator::isActiveCall { account },
        )
        .await
    }

    /// Whether `account` is a validator that counts in the current round.
    pub async fn is_snapshot_validator(&self, account: Address) -> Result<bool, ChainError> {
        self.view(
            self.deployment().coordinator,
            Coordinator::isSnapshotValidatorCall { account },
        )
        .await
    }

    /// Whether `account` is a registered user.
    pub async fn is_user(&self, account: Address) -> Result<bool, ChainError> {
        self.view(self.deployment().core, Core::isUserCall { account })
            .await
    }

    /// When the owner of an open job can cancel it (chain seconds); 0 if there is no such job.
    pub async fn cancellable_at(&self, job: B256) -> Result<u64, ChainError> {
        let time = self
            .view(
                self.deployment().core,
                Core::cancellableAtCall { jobId: job },
            )
            .await?;
        Ok(time.saturating_to())
    }

    /// Every network that was ever on the registry: its name, and whether it is active.
    pub async fn networks(&self) -> Result<Vec<(String, bool)>, ChainError> {
        let core = self.deployment().core;
        let count: u64 = self
            .view(core, Core::networkCountCall {})
            .await?
            .saturating_to();
        if count > NETWORKS_MAX {
            return Err(ChainError::Response {
                method: "networkCount",
                reason: format!("{count} networks, and the registry holds {NETWORKS_MAX} at most"),
            });
        }
        let mut networks = Vec::new();
        for id in 0..count {
            let call = Core::networksCall { id: U256::from(id) };
            let network = self.view(core, call).await?;
            networks.push((network.name, network.active));
        }
        Ok(networks)
    }

    /// Whether a network of this name is on the registry.
    pub async fn is_network(&self, name: &str) -> Result<bool, ChainError> {
        let call = Core::isNetworkCall {
            name: name.to_owned(),
        };
        self.view(self.deployment().core, call).await
    }

    /// Reputation of `account`, from 0 to 1000.
    pub async fn reputation(&self, account: Address) -> Result<u16, ChainError> {
        self.view(self.deployment().core, Core::reputationOfCall { account })
            .await
    }

    /// The proposals of the current round.
    pub async fn proposals(&self) -> Result<Vec<Proposal>, ChainError> {
        let proposals = self
            .view(
                self.deployment().coordinator,
                Coordinator::getProposalsCall {},
            )
            .await?;
        Ok(proposals
            .into_iter()
            .map(|proposal| Proposal {
                creator: proposal.creator,
                number: proposal.proposalNum,
                votes: proposal.votes,
                hash: proposal.proposalHash,
                created_at: proposal.createdAt,
            })
            .collect())
    }

    /// The hash that `validator` voted for in the current round.
    pub async fn voted_for(&self, validator: Address) -> Result<Option<B256>, ChainError> {
        let hash = self
            .view(
                self.deployment().coordinator,
                Coordinator::votedForCall { validator },
            )
            .await?;
        Ok((!hash.is_zero()).then_some(hash))
    }

    /// Whether this wallet may execute the proposal now.
    pub async fn can_execute(&self, number: u8) -> Result<bool, ChainError> {
        let call = Coordinator::canExecuteCall {
            proposalNum: number,
            caller: self.address(),
        };
        self.view(self.deployment().coordinator, call).await
    }

    /// The paid job `id`, if it was requested.
    pub async fn job(&self, id: B256) -> Result<Option<OnChainJob>, ChainError> {
        let call = Core::getJobCall { jobId: id };
        let job = self.view(self.deployment().core, call).await?;
        job_of(job)
    }

    /// The same, as it was so many blocks ago as the node waits for confirmations; several endpoints agree on it.
    pub async fn confirmed_job(&self, id: B256) -> Result<Option<OnChainJob>, ChainError> {
        let head = self.agreed_head().await?.number;
        let block = head.saturating_sub(self.settings().confirmations);
        let call = Core::getJobCall { jobId: id };
        let request = TransactionRequest::default()
            .to(self.deployment().core)
            .input(TransactionInput::new(call.abi_encode().into()));
        let data = self
            .agreed(Core::getJobCall::SIGNATURE, block, |provider| {
                let request = request.clone();
                async move { provider.call(request).block(BlockId::number(block)).await }
            })
            .await?;
        let job =
            Core::getJobCall::abi_decode_returns(&data).map_err(|error| ChainError::Response {
                method: Core::getJobCall::SIGNATURE,
                reason: error.to_string(),
            })?;
        job_of(job)
    }

    /// The hash of a block; `None` if the chain is not that long.
    pub async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        let block = self
            .request("eth_getBlockByNumber", |provider| async move {
                provider.get_block_by_number(number.into()).await
            })
            .await?;
        Ok(block.map(|block| block.header().hash))
    }

    /// The state updates executed from block `first` to block `last`, oldest first. Where there are several endpoints,
    /// most of those that have block `last` say so.
    pub async fn executed_updates(
        &self,
        first: u64,
        last: u64,
    ) -> Result<Vec<ExecutedUpdate>, ChainError> {
        let mut updates = Vec::new();
        let mut from = first;
        while from <= last {
            let to = last.min(from.saturating_add(LOG_BLOCKS_MAX - 1));
            updates.extend(self.executed_between(from, to).await?);
            from = to.saturating_add(1);
        }
        Ok(updates)
    }

    async fn executed_between(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Vec<ExecutedUpdate>, ChainError> {
        const METHOD: &str = "eth_getLogs";
        let filter = Filter::new()
            .address(self.deployment().coordinator)
            .event_signature(Coordinator::StateUpdateExecuted::SIGNATURE_HASH)
            .from_block(from)
            .to_block(to);
        let mut logs = self
            .agreed(METHOD, to, |provider| {
                let filter = filter.clone();
                async move {
                    let mut logs = provider.get_logs(&filter).await?;
                    // Only some endpoints say it, which is no contradiction.
                    logs.iter_mut().for_each(|log| log.block_timestamp = None);
                    Ok(logs)
                }
            })
            .await?;
        logs.retain(|log| !log.removed);
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        logs.iter()
            .map(|log| {
                let unexpected = |reason: String| ChainError::Response {
                    method: METHOD,
                    reason,
                };
                let event = Coordinator::StateUpdateExecuted::decode_log(&log.inner)
                    .map_err(|error| unexpected(error.to_string()))?;
                Ok(ExecutedUpdate {
                    round: event.round,
                    proposal_hash: event.proposalHash,
                    distribution_id: event.distributionId,
                    executor: event.executor,
                    block: log
                        .block_number
                        .ok_or_else(|| unexpected("a log without a block".to_owned()))?,
                    block_hash: log
                        .block_hash
                        .ok_or_else(|| unexpected("a log without a block".to_owned()))?,
                })
            })
            .collect()
    }

    /// How many distributions there are; the last one's id.
    pub async fn distribution_count(&self) -> Result<u64, ChainError> {
        let count = self
            .view(
                self.deployment().token,
                Token::s_currentDistributionIdCall {},
            )
            .await?;
        count.try_into().map_err(|_| ChainError::Response {
            method: "s_currentDistributionId",
            reason: format!("{count} distributions"),
        })
    }

    /// A distribution, if there is one with this id.
    pub async fn distribution(&self, id: u64) -> Result<Option<Distribution>, ChainError> {
        let call = Token::s_distributionsCall {
            distributionId: U256::from(id),
        };
        let found = self.view(self.deployment().token, call).await?;
        Ok((!found.timestamp.is_zero()).then_some(Distribution {
            merkle_root: found.merkleRoot,
            worker_reward_sno: found.workerReward.sno,
            worker_reward_eth: found.workerReward.eth,
            total_capacity: found.totalCapacity,
        }))
    }

    /// Whether `account` has claimed its reward from distribution `id`.
    pub async fn claimed(&self, id: u64, account: Address) -> Result<bool, ChainError> {
        self.view(
            self.deployment().token,
            Token::s_claimedCall {
                distributionId: U256::from(id),
                account,
            },
        )
        .await
    }

    /// What waits for `account` to be collected.
    pub async fn credits(&self, account: Address) -> Result<Credits, ChainError> {
        let found = self
            .view(self.deployment().token, Token::s_creditsCall { account })
            .await?;
        Ok(Credits {
            sno: found.sno.to(),
            eth: found.eth,
        })
    }

    /// SNO of `account`, in wei, without what it has locked.
    pub async fn token_balance(&self, account: Address) -> Result<U256, ChainError> {
        self.view(self.deployment().token, Token::balanceOfCall { account })
            .await
    }
}

/// The job in an answer to `getJob`, if it was requested.
fn job_of(job: Core::getJobReturn) -> Result<Option<OnChainJob>, ChainError> {
    let state = match job.state {
        0 => return Ok(None),
        1 => JobState::Open,
        2 => JobState::Complete,
        3 => JobState::Cancelled,
        unknown => {
            return Err(ChainError::Response {
                method: "getJob",
                reason: format!("state {unknown} is not one of 0 to 3"),
            });
        }
    };
    Ok(Some(OnChainJob {
        owner: job.owner,
        payment: job.payment,
        pays_sno: job.payWithSNO,
        state,
        created_at: job.createdAt,
        network: job.network,
    }))
}
