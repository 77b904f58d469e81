//! The governor and its timelock: a decision from its proposal to its execution, and the timelock's own functions.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    signers::SignerSync,
    sol,
    sol_types::{SolCall, SolStruct, eip712_domain},
};
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesDAO as Dao,
    SmartnodesERC20 as Token, SmartnodesTimelock as Timelock,
};

use crate::{
    SECOND_WORKER, STRANGER, Story,
    both::{Both, Sender, Tx},
    contracts_support::{FIRST_WORKER, empty_update, signer},
    no_bytes,
};

const DAY: u64 = 24 * 3_600;

sol! {
    /// OpenZeppelin's `Governor`.
    struct Ballot {
        uint256 proposalId;
        uint8 support;
        address voter;
        uint256 nonce;
    }

    /// OpenZeppelin's `Governor`.
    struct ExtendedBallot {
        uint256 proposalId;
        uint8 support;
        address voter;
        uint256 nonce;
        string reason;
        bytes params;
    }
}

fn bytes(call: impl SolCall) -> Bytes {
    call.abi_encode().into()
}

/// What is proposed, in the governor's lists.
#[derive(Clone)]
struct Decision {
    targets: Vec<Address>,
    values: Vec<U256>,
    calldatas: Vec<Bytes>,
    description: String,
}

impl Decision {
    fn new(calls: Vec<(Address, Bytes)>, description: &str) -> Self {
        let values = vec![U256::ZERO; calls.len()];
        let (targets, calldatas) = calls.into_iter().unzip();
        Self {
            targets,
            values,
            calldatas,
            description: description.into(),
        }
    }

    fn propose(&self) -> Dao::proposeCall {
        Dao::proposeCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            description: self.description.clone(),
        }
    }

    fn queue(&self) -> Dao::queueCall {
        Dao::queueCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            descriptionHash: keccak256(&self.description),
        }
    }

    fn execute(&self) -> Dao::executeCall {
        Dao::executeCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            descriptionHash: keccak256(&self.description),
        }
    }

    fn cancel(&self) -> Dao::cancelCall {
        Dao::cancelCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            descriptionHash: keccak256(&self.description),
        }
    }

    fn id_call(&self) -> Dao::getProposalIdCall {
        Dao::getProposalIdCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            descriptionHash: keccak256(&self.description),
        }
    }

    fn hash_call(&self) -> Dao::hashProposalCall {
        Dao::hashProposalCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            descriptionHash: keccak256(&self.description),
        }
    }
}

/// Calls of the views that take lists, texts or structures.
pub fn calls_of_lists(both: &Both) -> BTreeMap<Address, Vec<Bytes>> {
    let d = &both.deployment;
    let accounts: Vec<Address> = (0..5).map(|n| signer(n).address()).collect();
    let decision = Decision::new(vec![(d.core, Bytes::from_static(&[1, 2, 3]))], "views");
    let network = |name: &str| bytes(Core::isNetworkCall { name: name.into() });
    let mut update = empty_update();
    update.validatorsToRemove = accounts.clone();
    update.jobIds = vec![B256::with_last_byte(1); 3];
    BTreeMap::from([
        (
            d.token,
            vec![bytes(Token::sufficientCollateralCall { accounts })],
        ),
        (d.core, vec![network("hash-chain"), network("nowhere")]),
        (
            d.coordinator,
            vec![bytes(Coordinator::hashStateUpdateCall { round: 3, update })],
        ),
        (
            d.dao,
            vec![
                bytes(decision.id_call()),
                bytes(decision.hash_call()),
                bytes(Dao::getVotesWithParamsCall {
                    account: signer(0).address(),
                    timepoint: U256::from(both.ours.timestamp() - 1),
                    params: Bytes::from_static(b"params"),
                }),
            ],
        ),
        (
            d.timelock,
            vec![
                bytes(Timelock::hashOperationCall {
                    target: d.core,
                    value: U256::ONE,
                    data: Bytes::from_static(b"data"),
                    predecessor: B256::ZERO,
                    salt: B256::with_last_byte(9),
                }),
                bytes(Timelock::hashOperationBatchCall {
                    targets: vec![d.core, d.token],
                    values: vec![U256::ONE, U256::ZERO],
                    payloads: vec![Bytes::from_static(b"one"), no_bytes()],
                    predecessor: B256::ZERO,
                    salt: B256::with_last_byte(9),
                }),
            ],
        ),
    ])
}

impl Story {
    /// One decision with all that only the governor can ask of itself, and one that is cancelled.
    pub fn governance(&mut self) {
        let d = self.both.deployment.clone();
        let relay = Dao::relayCall {
            target: d.token,
            value: U256::ZERO,
            data: bytes(Token::delegateCall {
                delegatee: signer(0).address(),
            }),
        };
        let quorum = Dao::updateQuorumNumeratorCall {
            newQuorumNumerator: U256::from(12),
        };
        let timelock = Dao::updateTimelockCall {
            newTimelock: d.timelock,
        };
        self.both
            .fails::<Dao::GovernorOnlyExecutor>(Tx::new(STRANGER, d.dao, relay.clone()));
        self.both
            .fails::<Dao::GovernorOnlyExecutor>(Tx::new(STRANGER, d.dao, quorum.clone()));
        self.both
            .fails::<Dao::GovernorOnlyExecutor>(Tx::new(STRANGER, d.dao, timelock.clone()));
        let inside = vec![
            (d.dao, bytes(relay)),
            (d.dao, bytes(quorum)),
            (d.dao, bytes(timelock)),
            (
                d.core,
                bytes(Core::addNetworkCall {
                    name: "decided".into(),
                }),
            ),
        ];
        let decision = Decision::new(inside.clone(), "all at once");
        let withdrawn = Decision::new(inside.clone(), "not after all");
        self.both
            .fails::<Dao::GovernorInsufficientProposerVotes>(Tx::new(
                SECOND_WORKER,
                d.dao,
                decision.propose(),
            ));
        self.both.ok(Tx::new(0, d.dao, decision.propose()));
        self.both.ok(Tx::new(1, d.dao, withdrawn.propose()));
        self.both.fails::<Dao::GovernorUnableToCancel>(Tx::new(
            STRANGER,
            d.dao,
            withdrawn.cancel(),
        ));
        self.both.ok(Tx::new(1, d.dao, withdrawn.cancel()));
        let id = self.both.read(d.dao, &decision.id_call());
        self.subjects.proposals.push(id);
        self.vote(id);

        self.both.wait(7 * DAY);
        self.compare_views();
        self.both.ok(Tx::new(STRANGER, d.dao, decision.queue()));
        self.both
            .fails::<Dao::GovernorUnexpectedProposalState>(Tx::new(
                STRANGER,
                d.dao,
                decision.queue(),
            ));
        self.both
            .fails::<Timelock::TimelockUnexpectedOperationState>(Tx::new(
                STRANGER,
                d.dao,
                decision.execute(),
            ));
        self.both.wait(2 * DAY);
        self.both.ok(Tx::new(STRANGER, d.dao, decision.execute()));
        for (target, data) in inside {
            self.both.ran_inside(target, &data);
        }
        self.both
            .fails::<Dao::GovernorUnexpectedProposalState>(Tx::new(
                STRANGER,
                d.dao,
                decision.execute(),
            ));
    }

    /// Every way to vote.
    fn vote(&mut self, id: U256) {
        let dao = self.both.deployment.dao;
        let plain = |by| {
            let call = Dao::castVoteCall {
                proposalId: id,
                support: 1,
            };
            Tx::new(by, dao, call)
        };
        let reasoned = |by| {
            let call = Dao::castVoteWithReasonCall {
                proposalId: id,
                support: 1,
                reason: "it is time".into(),
            };
            Tx::new(by, dao, call)
        };
        let with_params = |by| {
            let call = Dao::castVoteWithReasonAndParamsCall {
                proposalId: id,
                support: 0,
                reason: "it is not".into(),
                params: Bytes::from_static(b"params"),
            };
            Tx::new(by, dao, call)
        };
        self.both
            .fails::<Dao::GovernorUnexpectedProposalState>(plain(0));
        self.both.wait(DAY + 2);
        for (by, vote) in [(0, plain(0)), (1, reasoned(1)), (2, with_params(2))] {
            self.both.ok(vote.clone());
            self.both.fails::<Dao::GovernorAlreadyCastVote>(vote);
            self.subjects.accounts.push(signer(by).address());
        }

        let domain = eip712_domain! {
            name: "SmartnodesDAO",
            version: "1",
            chain_id: self.both.deployment.chain_id,
            verifying_contract: dao,
        };
        let signature = |by: u32, hash: B256| -> Bytes {
            let signature = signer(by).sign_hash_sync(&hash).expect("a local key signs");
            signature.as_bytes().into()
        };
        let ballot = Ballot {
            proposalId: id,
            support: 2,
            voter: signer(FIRST_WORKER).address(),
            nonce: U256::ZERO,
        };
        let by_signature = |signer: u32| Dao::castVoteBySigCall {
            proposalId: id,
            support: ballot.support,
            voter: ballot.voter,
            signature: signature(signer, ballot.eip712_signing_hash(&domain)),
        };
        self.both.fails::<Dao::GovernorInvalidSignature>(Tx::new(
            STRANGER,
            dao,
            by_signature(SECOND_WORKER),
        ));
        self.both
            .ok(Tx::new(STRANGER, dao, by_signature(FIRST_WORKER)));
        let extended = ExtendedBallot {
            proposalId: id,
            support: 1,
            voter: signer(SECOND_WORKER).address(),
            nonce: U256::ZERO,
            reason: "by letter".into(),
            params: Bytes::from_static(b"params"),
        };
        let by_signature = |signer: u32| Dao::castVoteWithReasonAndParamsBySigCall {
            proposalId: id,
            support: extended.support,
            voter: extended.voter,
            reason: extended.reason.clone(),
            params: extended.params.clone(),
            signature: signature(signer, extended.eip712_signing_hash(&domain)),
        };
        self.both.fails::<Dao::GovernorInvalidSignature>(Tx::new(
            STRANGER,
            dao,
            by_signature(FIRST_WORKER),
        ));
        self.both
            .ok(Tx::new(STRANGER, dao, by_signature(SECOND_WORKER)));
    }

    /// The timelock, asked by the governor and by itself.
    pub fn timelock(&mut self) {
        let d = self.both.deployment.clone();
        let network = |name: &str| bytes(Core::addNetworkCall { name: name.into() });
        let delay = U256::from(2 * DAY);
        let schedule = |salt: u8| Timelock::scheduleCall {
            target: d.core,
            value: U256::ZERO,
            data: network("scheduled"),
            predecessor: B256::ZERO,
            salt: B256::with_last_byte(salt),
            delay,
        };
        let id = |story: &Self, salt: u8| {
            story.both.read(
                d.timelock,
                &Timelock::hashOperationCall {
                    target: d.core,
                    value: U256::ZERO,
                    data: network("scheduled"),
                    predecessor: B256::ZERO,
                    salt: B256::with_last_byte(salt),
                },
            )
        };
        self.both
            .fails::<Timelock::AccessControlUnauthorizedAccount>(Tx::new(
                STRANGER,
                d.timelock,
                schedule(1),
            ));
        self.both.ok(Tx::by(d.dao, d.timelock, schedule(1)));
        self.both.ok(Tx::by(d.dao, d.timelock, schedule(2)));
        let cancel = Timelock::cancelCall { id: id(self, 2) };
        self.both
            .fails::<Timelock::AccessControlUnauthorizedAccount>(Tx::new(
                STRANGER,
                d.timelock,
                cancel.clone(),
            ));
        self.both.ok(Tx::by(d.dao, d.timelock, cancel));

        let (targets, values) = (vec![d.core; 2], vec![U256::ZERO; 2]);
        let payloads = vec![network("first of two"), network("second of two")];
        let batch = Timelock::scheduleBatchCall {
            targets: targets.clone(),
            values: values.clone(),
            payloads: payloads.clone(),
            predecessor: id(self, 1),
            salt: B256::ZERO,
            delay,
        };
        self.both
            .fails::<Timelock::TimelockInsufficientDelay>(Tx::by(
                d.dao,
                d.timelock,
                Timelock::scheduleBatchCall {
                    delay: U256::ONE,
                    ..batch.clone()
                },
            ));
        self.both.ok(Tx::by(d.dao, d.timelock, batch));
        let execute = Timelock::executeCall {
            target: d.core,
            value: U256::ZERO,
            payload: network("scheduled"),
            predecessor: B256::ZERO,
            salt: B256::with_last_byte(1),
        };
        let execute_batch = Timelock::executeBatchCall {
            targets,
            values,
            payloads,
            predecessor: id(self, 1),
            salt: B256::ZERO,
        };
        let done = id(self, 1);
        self.subjects.hashes.push(done);
        self.both
            .fails::<Timelock::TimelockUnexpectedOperationState>(Tx::by(
                d.dao,
                d.timelock,
                execute.clone(),
            ));
        self.both.wait(2 * DAY);
        self.both
            .fails::<Timelock::TimelockUnexecutedPredecessor>(Tx::by(
                d.dao,
                d.timelock,
                execute_batch.clone(),
            ));
        self.both.ok(Tx::by(d.dao, d.timelock, execute));
        self.both.ok(Tx::by(d.dao, d.timelock, execute_batch));
        self.timelock_administers_itself();
    }

    fn timelock_administers_itself(&mut self) {
        let d = self.both.deployment.clone();
        let (role, stranger) = (keccak256("EXECUTOR_ROLE"), signer(STRANGER).address());
        let grant = Timelock::grantRoleCall {
            role,
            account: stranger,
        };
        let revoke = Timelock::revokeRoleCall {
            role,
            account: stranger,
        };
        let update = Timelock::updateDelayCall {
            newDelay: U256::from(DAY),
        };
        let renounce = |confirmation| {
            Tx::new(
                STRANGER,
                d.timelock,
                Timelock::renounceRoleCall {
                    role,
                    callerConfirmation: confirmation,
                },
            )
        };
        self.both
            .fails::<Timelock::AccessControlUnauthorizedAccount>(Tx::new(
                STRANGER,
                d.timelock,
                grant.clone(),
            ));
        self.both
            .fails::<Timelock::AccessControlUnauthorizedAccount>(Tx::new(
                STRANGER,
                d.timelock,
                revoke.clone(),
            ));
        self.both
            .fails::<Timelock::TimelockUnauthorizedCaller>(Tx::new(
                STRANGER,
                d.timelock,
                update.clone(),
            ));
        self.both.ok(Tx::by(d.timelock, d.timelock, grant.clone()));
        self.both
            .fails::<Timelock::AccessControlBadConfirmation>(renounce(d.dao));
        self.both.ok(renounce(stranger));
        self.both.ok(Tx::by(d.timelock, d.timelock, grant));
        self.both.ok(Tx::by(d.timelock, d.timelock, revoke));
        self.both.ok(Tx::by(d.timelock, d.timelock, update));
        self.deposits();
    }

    /// The timelock takes tokens of all kinds and ETH; the governor none.
    fn deposits(&mut self) {
        let d = self.both.deployment.clone();
        let someone = signer(STRANGER).address();
        let (one, data) = (U256::ONE, Bytes::from_static(b"data"));
        let calls = [
            bytes(Timelock::onERC721ReceivedCall {
                _0: someone,
                _1: someone,
                _2: one,
                _3: data.clone(),
            }),
            bytes(Timelock::onERC1155ReceivedCall {
                _0: someone,
                _1: someone,
                _2: one,
                _3: one,
                _4: data.clone(),
            }),
            bytes(Timelock::onERC1155BatchReceivedCall {
                _0: someone,
                _1: someone,
                _2: vec![one, one],
                _3: vec![one],
                _4: data,
            }),
            no_bytes(),
        ];
        for call in calls {
            let to = |contract| {
                let sender = Sender::Signer(STRANGER);
                Tx::raw(sender, TxKind::Call(contract), call.clone())
            };
            if call.is_empty() {
                self.both.ok(to(d.timelock).paying(one));
            } else {
                self.both.ok(to(d.timelock));
                self.both.refuses_eth(to(d.timelock));
            }
            self.both.fails::<Dao::GovernorDisabledDeposit>(to(d.dao));
        }
    }
}
