//! Receipts that a cheating validator forges, or issues twice.

use alloy::primitives::{Address, B256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use smartnodes_node::chain::RoundStatus;
use smartnodes_node::jobs::receipt::{
    Answer, Receipt, TaskDone, Work, WorkKind, WorkOrder, challenge_task,
};
use smartnodes_node::jobs::{JobRequest, Shape};
use smartnodes_node::p2p::wire::Gossip;
use smartnodes_node::round::driver::RoundError;
use smartnodes_node::signed::{Signed, encode};
use smartnodes_node::work::hash_chain::{self, HashChain, HashChainProof};
use smartnodes_node::work::{Task, TaskKind, TaskOutput};
use tracing::info;

use super::{Cheat, ValidatorMisdeed};

/// Steps of a job that nobody has done: far more capacity than challenges are worth, and soon seen through.
const FORGED_STEPS: u64 = hash_chain::STEPS_MAX / 16;

impl Cheat {
    /// What is to be done before a round is due.
    pub(super) async fn prepare(&self, status: &RoundStatus) -> Result<(), RoundError> {
        match self.misdeed {
            ValidatorMisdeed::Forging => self.forge(status.round).await,
            ValidatorMisdeed::Duplicating => self.double().await,
            _ => Ok(()),
        }
    }

    /// Issues receipts for work that nobody has done, once a round: one that the worker has not signed, and one whose
    /// worker and user are its own inventions and whose proof is made up.
    async fn forge(&self, round: u64) -> Result<(), RoundError> {
        let [Some(worker), Some(user)] = self.keys() else {
            return Ok(());
        };
        let forged = [
            self.unsigned(round, worker.address()),
            self.unproven(round, &worker, &user),
        ];
        for receipt in forged {
            let id = receipt.id(&self.validator.ctx.domain);
            if self.issue_unseen(receipt).await? {
                info!(act = "forged-receipt", round, receipt = %id, "misdeed");
            }
        }
        Ok(())
    }

    /// A worker and a user that nobody knows.
    pub(super) fn keys(&self) -> [Option<PrivateKeySigner>; 2] {
        [b"worker".as_slice(), b"user"].map(|what| {
            let secret = keccak256([self.group.secret.as_slice(), what].concat());
            PrivateKeySigner::from_bytes(&secret).ok()
        })
    }

    /// Their addresses.
    pub(super) fn invented(&self) -> [Option<Address>; 2] {
        self.keys().map(|key| key.map(|key| key.address()))
    }

    /// A challenge that the worker is said to have passed, in the validator's own hand.
    fn unsigned(&self, round: u64, worker: Address) -> Signed<Receipt> {
        let ctx = &self.validator.ctx;
        let kind = WorkKind::Challenge {
            round,
            index: 0,
            nonce: self.group.secret,
        };
        let task = challenge_task(&ctx.domain, ctx.address(), worker, &kind);
        let order = WorkOrder {
            validator: ctx.address(),
            worker,
            kind,
            task,
        };
        let output = made_up(&order.task);
        let result = Signed::sign(order.result(&output), &ctx.domain, &ctx.identity.wallet);
        self.receipt(round, Work::Challenge(Answer { result, output }))
    }

    /// A long job of a user that is none, done by a worker that is none: all signatures are right.
    fn unproven(
        &self,
        round: u64,
        worker: &PrivateKeySigner,
        user: &PrivateKeySigner,
    ) -> Signed<Receipt> {
        let ctx = &self.validator.ctx;
        let task = Task {
            kind: TaskKind::HashChain(HashChain {
                steps: FORGED_STEPS,
            }),
            input: self.group.secret.to_vec(),
        };
        let request = JobRequest {
            user: user.address(),
            network: hash_chain::NETWORK.to_owned(),
            shape: Shape::Parallel,
            tasks: vec![task.clone()],
            replication: 1,
            payment: 0,
            nonce: round,
        };
        let order = WorkOrder {
            validator: ctx.address(),
            worker: worker.address(),
            kind: WorkKind::Job {
                job: request.job_id(&ctx.domain),
                task: 0,
                user: user.address(),
            },
            task,
        };
        let output = made_up(&order.task);
        let result = Signed::sign(order.result(&output), &ctx.domain, worker);
        let done = TaskDone {
            output,
            by: vec![result],
        };
        let work = Work::Job {
            request: Signed::sign(request, &ctx.domain, user),
            tasks: vec![Some(done)],
        };
        self.receipt(round, work)
    }

    fn receipt(&self, round: u64, work: Work) -> Signed<Receipt> {
        let ctx = &self.validator.ctx;
        let body = Receipt {
            validator: ctx.address(),
            round,
            issued_at: ctx.clock.now(),
            work,
        };
        Signed::sign(body, &ctx.domain, &ctx.identity.wallet)
    }

    /// Issues each of its own receipts for challenges a second time, with another date.
    async fn double(&self) -> Result<(), RoundError> {
        let domain = self.validator.ctx.domain;
        let single: Vec<Receipt> = {
            let ledger = self.validator.ledger();
            let mut own: Vec<(B256, Receipt)> = Vec::new();
            for id in ledger.unsettled_ids() {
                if let Some(receipt) = ledger.get(id)?
                    && self.is_own_challenge(&receipt.body)
                {
                    own.push((receipt.body.slot(&domain).hash(), receipt.body));
                }
            }
            let slots: Vec<B256> = own.iter().map(|(slot, _)| *slot).collect();
            let times = |slot: B256| slots.iter().filter(|other| **other == slot).count();
            let single = own.into_iter().filter(|(slot, _)| times(*slot) == 1);
            single.map(|(_, receipt)| receipt).collect()
        };
        for receipt in single {
            let round = receipt.round;
            let second = Receipt {
                issued_at: receipt.issued_at.saturating_sub(1),
                ..receipt
            };
            let wallet = &self.validator.ctx.identity.wallet;
            if self
                .issue_unseen(Signed::sign(second, &domain, wallet))
                .await?
            {
                info!(act = "second-receipt", round, "misdeed");
            }
        }
        Ok(())
    }

    /// Takes a receipt into its own books without a look at it, and gossips it. Whether it is new.
    async fn issue_unseen(&self, receipt: Signed<Receipt>) -> Result<bool, RoundError> {
        let ctx = &self.validator.ctx;
        let slot = receipt.body.slot(&ctx.domain);
        let forged_before =
            self.misdeed == ValidatorMisdeed::Forging && self.validator.ledger().has_slot(&slot);
        let now = ctx.clock.now();
        if forged_before || !self.validator.ledger().insert(receipt.clone(), now)? {
            return Ok(false);
        }
        let gossip = encode(&Gossip::Receipt(Box::new(receipt)));
        ctx.network.publish(gossip).await;
        Ok(true)
    }
}

/// What a task's result would look like.
fn made_up(task: &Task) -> TaskOutput {
    let TaskKind::HashChain(HashChain { steps }) = task.kind else {
        // Only chains are forged here; whatever else it were, this is not its result.
        return TaskOutput {
            output: B256::ZERO,
            proof: HashChainProof {
                checkpoints: Vec::new(),
            }
            .into(),
        };
    };
    let segments = hash_chain::segment_count(steps);
    let checkpoint =
        |segment: u64| keccak256([task.digest().as_slice(), &segment.to_be_bytes()].concat());
    let checkpoints: Vec<B256> = (0..segments).map(checkpoint).collect();
    TaskOutput {
        output: checkpoints.last().copied().unwrap_or_default(),
        proof: HashChainProof { checkpoints }.into(),
    }
}
