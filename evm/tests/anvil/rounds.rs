//! Rounds, rewards, jobs and the validator set: what nodes do all day.

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    sol_types::SolValue,
};
use smartnodes_evm::{
    bindings::{
        SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
    },
    state_update::{ReputationChange, StateUpdate, job_id, proposal_hash},
};

use crate::{
    NEWCOMER, SECOND_WORKER, STRANGER, Story,
    both::{Sender, Tx},
    contracts_support::{FIRST_WORKER, INTERVAL, USER, empty_update, key_hash, signer, sno, work},
    unknown_hash,
};

const DAY: u64 = 24 * 3_600;

/// The order that a drawing block's hash gives to the validators.
fn order(seed: B256, members: &[Address]) -> Vec<Address> {
    let mut members = members.to_vec();
    members.sort_by_key(|member| keccak256((seed, *member).abi_encode()));
    members
}

fn vote(by: u32, coordinator: Address, number: u8, hash: B256) -> Tx {
    Tx::new(
        by,
        coordinator,
        Coordinator::voteForProposalCall {
            proposalNum: number,
            proposalHash: hash,
        },
    )
}

fn execute(by: u32, coordinator: Address, update: &StateUpdate) -> Tx {
    Tx::new(
        by,
        coordinator,
        Coordinator::executeProposalCall {
            proposalNum: 1,
            update: update.clone(),
        },
    )
}

fn propose(by: u32, coordinator: Address, hash: B256) -> Tx {
    Tx::new(
        by,
        coordinator,
        Coordinator::createProposalCall { proposalHash: hash },
    )
}

impl Story {
    pub fn status(&self) -> Coordinator::RoundStatus {
        let coordinator = self.both.deployment.coordinator;
        self.both
            .read(coordinator, &Coordinator::roundStatusCall {})
    }

    fn hash(&self, update: &StateUpdate) -> B256 {
        let d = &self.both.deployment;
        proposal_hash(d.chain_id, d.coordinator, self.status().round, update)
    }

    /// A drawn proposer, and a validator that is not it.
    fn proposer_and_other(&self) -> (u32, u32) {
        let drawn = self.both.read(
            self.both.deployment.coordinator,
            &Coordinator::getCurrentRoundValidatorsCall {},
        );
        let proposer = (0..3)
            .find(|n| drawn.contains(&signer(*n).address()))
            .expect("two of at most four are drawn");
        (proposer, (proposer + 1) % 3)
    }

    /// Seals, mines a drawing block that draws alike on both chains, and opens.
    fn open_round(&mut self, by: u32) {
        let coordinator = self.both.deployment.coordinator;
        self.both.wait_until(self.status().dueTime);
        let open = || Tx::new(by, coordinator, Coordinator::openRoundCall {});
        self.both.ok(open());
        self.both.wait(2);
        let members = self
            .both
            .read(coordinator, &Coordinator::getValidatorsCall {});
        let round = U256::from(self.status().round);
        self.both.until_equal(|both, attempt| {
            let payee = TxKind::Call(signer(STRANGER).address());
            let payment = Tx::raw(Sender::Signer(STRANGER), payee, Bytes::new());
            both.ok(payment.paying(U256::from(attempt)));
            let draw = |hash: B256| {
                let seed = keccak256((hash, coordinator, round).abi_encode());
                order(seed, &members)
            };
            let (ours, theirs) = both.latest_hashes();
            (draw(ours), draw(theirs))
        });
        self.both.ok(open());
        assert_eq!(self.status().phase, 4, "the round is open");
    }

    /// A whole round with the votes of the first three validators, in one block.
    fn round(&mut self, update: &StateUpdate) {
        let coordinator = self.both.deployment.coordinator;
        self.open_round(0);
        let ((proposer, _), hash) = (self.proposer_and_other(), self.hash(update));
        self.both.ok(propose(proposer, coordinator, hash));
        self.both
            .together((0..3).map(|n| vote(n, coordinator, 1, hash)).collect());
        self.both.wait(INTERVAL / 32);
        self.both.ok(execute(proposer, coordinator, update));
    }

    fn claim(&self, worker: u32, distribution: u64, capacity: u64) -> Tx {
        let place = usize::try_from(distribution - 1).expect("few");
        let proof = self.trees[place].proof(signer(worker).address());
        Tx::new(
            worker,
            self.both.deployment.token,
            Token::claimMerkleRewardsCall {
                distributionId: U256::from(distribution),
                capacity: U256::from(capacity),
                proof: proof.unwrap_or_default(),
            },
        )
    }

    /// The first round, with every way in which it can be disturbed; then its rewards.
    pub fn first_round(&mut self) {
        let c = self.both.deployment.coordinator;
        let open = |by| Tx::new(by, c, Coordinator::openRoundCall {});
        self.both
            .fails::<Coordinator::Coordinator__NotValidator>(open(STRANGER));
        self.both
            .fails::<Coordinator::Coordinator__ProposalTooEarly>(open(0));
        self.open_round(0);

        let (tree, update) = work(1, &[(FIRST_WORKER, 3), (SECOND_WORKER, 1), (USER, 6)]);
        self.trees.push(tree);
        let ((proposer, other), hash) = (self.proposer_and_other(), self.hash(&update));
        self.both
            .fails::<Coordinator::Coordinator__InvalidProposalHash>(propose(
                proposer,
                c,
                B256::ZERO,
            ));
        self.both
            .fails::<Coordinator::Coordinator__NotEligibleValidator>(propose(STRANGER, c, hash));
        self.both
            .fails::<Coordinator::Coordinator__InvalidProposalNumber>(vote(0, c, 1, hash));
        self.both.ok(propose(proposer, c, hash));
        self.both
            .fails::<Coordinator::Coordinator__AlreadySubmittedProposal>(propose(
                proposer, c, hash,
            ));
        self.both
            .fails::<Coordinator::Coordinator__ProposalDataMismatch>(vote(0, c, 1, unknown_hash()));
        self.both
            .fails::<Coordinator::Coordinator__NotEligibleValidator>(vote(STRANGER, c, 1, hash));
        self.both
            .fails::<Coordinator::Coordinator__NotEnoughVotes>(execute(proposer, c, &update));
        self.both
            .together(vec![vote(0, c, 1, hash), vote(1, c, 1, hash)]);
        self.both
            .fails::<Coordinator::Coordinator__AlreadyVoted>(vote(1, c, 1, hash));
        self.both
            .fails::<Coordinator::Coordinator__VotingWindowOpen>(execute(proposer, c, &update));
        self.both.ok(vote(2, c, 1, hash));
        self.both
            .fails::<Coordinator::Coordinator__MustBeProposalCreator>(execute(other, c, &update));
        self.compare_views();
        self.both.ok(execute(proposer, c, &update));
        self.both
            .fails::<Coordinator::Coordinator__RoundNotOpen>(vote(0, c, 1, hash));

        self.both.ok(self.claim(FIRST_WORKER, 1, 3));
        self.both
            .fails::<Token::Token__RewardsAlreadyClaimed>(self.claim(FIRST_WORKER, 1, 3));
        self.both
            .fails::<Token::Token__InvalidMerkleProof>(self.claim(USER, 1, 7));
        self.both.ok(self.claim(USER, 1, 6));
        self.both
            .fails::<Token::Token__UnknownDistribution>(Tx::new(
                USER,
                self.both.deployment.token,
                Token::claimMerkleRewardsCall {
                    distributionId: U256::from(9),
                    capacity: U256::from(6),
                    proof: vec![],
                },
            ));
    }

    fn request(&self, name: &str, network: &str, payment: u128) -> (B256, Tx) {
        let d = &self.both.deployment;
        let job_hash = keccak256(name);
        let call = Core::requestJobCall {
            userHash: key_hash(USER),
            jobHash: job_hash,
            network: network.into(),
            capacities: vec![U256::from(4), U256::from(9)],
            payment,
        };
        let id = job_id(d.chain_id, d.core, signer(USER).address(), job_hash);
        (id, Tx::new(USER, d.core, call))
    }

    fn cancel_job(&self, by: u32, id: B256) -> Tx {
        Tx::new(
            by,
            self.both.deployment.core,
            Core::cancelJobCall { jobId: id },
        )
    }

    /// A user's jobs: two that a round completes, two that are cancelled.
    pub fn jobs(&mut self) {
        let (token, core) = (self.both.deployment.token, self.both.deployment.core);
        let user = |by, key| Tx::new(by, core, Core::createUserCall { publicKeyHash: key });
        self.both
            .fails::<Core::Core__InvalidPublicKeyHash>(user(USER, B256::ZERO));
        self.both.ok(user(USER, key_hash(88)));
        self.both
            .fails::<Core::Core__NodeExists>(user(USER, key_hash(88)));
        let key = |by, key| Tx::new(by, core, Core::setPublicKeyHashCall { publicKeyHash: key });
        self.both
            .fails::<Core::Core__NodeDoesNotExist>(key(STRANGER, key_hash(USER)));
        self.both.ok(key(USER, key_hash(USER)));

        let eth = 1_000_000_007_u128;
        let paying = |tx: Tx| tx.paying(U256::from(eth));
        let (_, unknown) = self.request("none", "nowhere", 1);
        self.both.fails::<Core::Core__UnknownNetwork>(unknown);
        let (in_sno, request) = self.request("in SNO", "hash-chain", sno(50).to());
        self.both.ok(request.clone());
        self.both.fails::<Core::Core__JobExists>(request);
        let (in_eth, request) = self.request("in ETH", "hash-chain", eth);
        self.both
            .fails::<Core::Core__InvalidPayment>(request.clone().paying(U256::from(7)));
        self.both.ok(paying(request));
        let (late_sno, request) = self.request("late in SNO", "hash-chain", sno(30).to());
        self.both.ok(request);
        let (late_eth, request) = self.request("late in ETH", "hash-chain", eth);
        self.both.ok(paying(request));
        self.subjects.hashes.extend([in_sno, late_eth]);
        self.both
            .fails::<Core::Core__TooEarlyToCancel>(self.cancel_job(USER, late_sno));
        self.compare_views();

        let (tree, update) = work(2, &[(FIRST_WORKER, 5), (SECOND_WORKER, 2)]);
        self.trees.push(tree);
        let change = |n, delta| ReputationChange {
            account: signer(n).address(),
            delta,
        };
        let update = StateUpdate {
            jobIds: vec![in_sno, unknown_hash(), in_eth],
            reputationChanges: vec![change(FIRST_WORKER, 30), change(SECOND_WORKER, -120)],
            ..update
        };
        self.round(&update);

        let proof = |story: &Self, worker, place: usize| {
            story.trees[place]
                .proof(signer(worker).address())
                .expect("the worker has a leaf")
        };
        let batch =
            |story: &Self, worker, capacities: [u64; 2]| Token::batchClaimMerkleRewardsCall {
                distributionIds: vec![U256::from(1), U256::from(2)],
                capacities: capacities.map(U256::from).to_vec(),
                proofs: vec![proof(story, worker, 0), proof(story, worker, 1)],
            };
        self.both.ok(Tx::new(
            SECOND_WORKER,
            token,
            batch(self, SECOND_WORKER, [1, 2]),
        ));
        // The first of the two is claimed already, which the batch reports and passes over.
        let receipt = self.both.ok(Tx::new(
            FIRST_WORKER,
            token,
            batch(self, FIRST_WORKER, [3, 5]),
        ));
        assert!(receipt.inner.logs().len() >= 3);
        let uneven = Token::batchClaimMerkleRewardsCall {
            capacities: vec![],
            ..batch(self, FIRST_WORKER, [3, 5])
        };
        self.both
            .fails::<Token::Token__InvalidArrayLength>(Tx::new(FIRST_WORKER, token, uneven));
        let withdraw = |by| {
            Tx::new(
                by,
                token,
                Token::withdrawEthCall {
                    to: signer(by).address(),
                },
            )
        };
        self.both.ok(withdraw(0));
        self.both
            .fails::<Token::Token__InsufficientBalance>(withdraw(0));

        self.both.wait(3 * INTERVAL);
        self.both
            .fails::<Core::Core__NotJobOwner>(self.cancel_job(STRANGER, late_sno));
        self.both.ok(self.cancel_job(USER, late_sno));
        self.both.ok(self.cancel_job(USER, late_eth));
        self.both
            .fails::<Core::Core__JobNotOpen>(self.cancel_job(USER, late_eth));
    }

    /// Collateral and the validator set: joining, leaving, being removed, unlocking, coming back.
    pub fn membership(&mut self) {
        let d = self.both.deployment.clone();
        let user_amount = |amount| Token::setUserLockAmountCall { newAmount: amount };
        let validator_amount = |amount| Token::setValidatorLockAmountCall { newAmount: amount };
        self.both
            .fails::<Token::Token__OnlyDAO>(Tx::new(STRANGER, d.token, user_amount(sno(1))));
        self.both.fails::<Token::Token__OnlyDAO>(Tx::new(
            STRANGER,
            d.token,
            validator_amount(sno(1)),
        ));
        self.both.fails::<Token::Token__InvalidLockAmount>(Tx::by(
            d.timelock,
            d.token,
            user_amount(U256::ZERO),
        ));
        self.both
            .ok(Tx::by(d.timelock, d.token, user_amount(sno(150))));
        self.both
            .ok(Tx::by(d.timelock, d.token, validator_amount(sno(1_000))));
        let top_up = || {
            Tx::new(
                USER,
                d.token,
                Token::topUpCollateralCall { isValidator: false },
            )
        };
        self.both.ok(top_up());
        self.both.fails::<Token::Token__AlreadyLocked>(top_up());

        let send = Token::transferCall {
            to: signer(NEWCOMER).address(),
            value: sno(2_000),
        };
        self.both.ok(Tx::new(USER, d.token, send));
        let create = |by| {
            Tx::new(
                by,
                d.core,
                Core::createValidatorCall {
                    publicKeyHash: key_hash(by),
                },
            )
        };
        self.both.fails::<Core::Core__NodeExists>(create(0));
        self.both.ok(create(NEWCOMER));
        let leave = || Tx::new(NEWCOMER, d.coordinator, Coordinator::removeValidatorCall {});
        let join = || Tx::new(NEWCOMER, d.coordinator, Coordinator::addValidatorCall {});
        self.both.ok(leave());
        self.both
            .fails::<Coordinator::Coordinator__NotValidator>(leave());
        self.both.ok(join());
        self.both
            .fails::<Coordinator::Coordinator__ValidatorAlreadyExists>(join());
        self.round(&StateUpdate {
            validatorsToRemove: vec![signer(NEWCOMER).address(), signer(STRANGER).address()],
            ..empty_update()
        });
        self.both
            .fails::<Coordinator::Coordinator__CoolDown>(join());

        let unlock_validator = || Tx::new(NEWCOMER, d.core, Core::unlockValidatorCall {});
        let unlock_user = || Tx::new(USER, d.core, Core::unlockUserCall {});
        for unlock in [unlock_validator(), unlock_user()] {
            self.both.ok(unlock.clone());
            self.both.fails::<Token::Token__UnlockPending>(unlock);
        }
        self.compare_views();
        self.both.wait(30 * DAY);
        for unlock in [unlock_validator(), unlock_user()] {
            self.both.ok(unlock.clone());
            self.both.fails::<Token::Token__NotLocked>(unlock);
        }

        // A month without a vote: nobody counts until it says that it is back.
        let open = Tx::new(0, d.coordinator, Coordinator::openRoundCall {});
        self.both
            .fails::<Coordinator::Coordinator__NotValidator>(open);
        let back = |by| Tx::new(by, d.coordinator, Coordinator::reactivateCall {});
        self.both.together((0..3).map(back).collect());
        self.both
            .fails::<Coordinator::Coordinator__NotValidator>(back(STRANGER));
        self.round(&empty_update());
        // A round that nobody ends expires; whoever comes next ends it.
        self.open_round(1);
        self.both.wait(INTERVAL);
        self.compare_views();
        self.both
            .ok(Tx::new(0, d.coordinator, Coordinator::openRoundCall {}));
    }
}
