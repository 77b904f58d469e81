//! The whole path: a validator proposes and publishes something wrong, the others say what is wrong with it, and vote for
//! what a true validator proposes. One test for each thing that can be wrong.

use alloy::primitives::{Address, B256, U256};
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_evm::state_update::{StateUpdate, proposal_hash};

use super::world::{VALIDATORS, World, challenge, identity, job, validator};
use crate::chain::ChainClient;
use crate::jobs::FREE_JOBS_PER_ROUND;
use crate::jobs::ledger::Ledger;
use crate::jobs::receipt::Receipt;
use crate::round::aggregate::compose;
use crate::round::payload::{Payload, PublishedPayload, SignedPayload};
use crate::signed::{Domain, Signed};
use crate::store::{Store, Table};
use crate::testing::{job_request, wallet};

/// The distribution that the round's update would create.
const DISTRIBUTION: u64 = 1;

/// An open round, and what every validator holds in it.
struct Scene {
    domain: Domain,
    round: u64,
    /// The round's due time, chain seconds.
    due: u64,
    /// When what is held was issued and came to be held, chain seconds: long before the due time.
    issued_at: u64,
    held: Vec<Signed<Receipt>>,
    /// Id and slot of what earlier updates have settled.
    settled: Vec<(B256, B256)>,
}

impl Scene {
    /// Two challenges, a free job of two tasks and a paid one, held by all.
    async fn new(world: &World, observer: &ChainClient, issued_at: u64, round: u64) -> Self {
        let domain = world.domain();
        let status = observer.round_status().await.expect("the chain answers");
        let mut scene = Self {
            domain,
            round,
            due: status.due_time,
            issued_at,
            held: Vec::new(),
            settled: Vec::new(),
        };
        for worker in [11, 12] {
            let receipt = scene.challenge(0, worker, round, issued_at).await;
            scene.held.push(receipt);
        }
        for (nonce, payment) in [(1, 0), (2, 1_000)] {
            let receipt = scene.job(0, nonce, payment).await;
            scene.held.push(receipt);
        }
        scene
    }

    /// A receipt of validator `n` for a challenge.
    async fn challenge(&self, n: u8, worker: u8, round: u64, issued_at: u64) -> Signed<Receipt> {
        let (issuer, worker) = (identity(n).wallet, wallet(worker));
        challenge(&self.domain, &issuer, &worker, round, issued_at).await
    }

    /// A receipt of validator `n` for a job of two tasks.
    async fn job(&self, n: u8, nonce: u64, payment: u128) -> Signed<Receipt> {
        let request = job_request(&wallet(9), nonce, payment, 2).body;
        let (issuer, user) = (identity(n).wallet, wallet(9));
        let workers = [wallet(11), wallet(12)];
        job(
            &self.domain,
            &issuer,
            &workers,
            Signed::sign(request, &self.domain, &user),
            self.round,
            self.issued_at,
        )
        .await
    }

    fn job_id(&self, nonce: u64, payment: u128) -> B256 {
        let request = job_request(&wallet(9), nonce, payment, 2);
        request.body.job_id(&self.domain)
    }

    fn id_and_slot(&self, receipt: &Signed<Receipt>) -> (B256, B256) {
        let slot = receipt.body.slot(&self.domain).hash();
        (receipt.id(&self.domain), slot)
    }

    /// Brings a validator's books to where all of them are.
    fn fill(&self, ledger: &mut Ledger) {
        for receipt in &self.held {
            ledger
                .insert(receipt.clone(), self.issued_at)
                .expect("stored");
        }
        ledger
            .settle(&self.settled, DISTRIBUTION - 1, self.round - 1)
            .expect("settles");
    }

    /// What a true validator proposes.
    fn honest(&self) -> Payload {
        let store = Store::in_memory().expect("opens");
        let mut ledger = Ledger::open(store, self.domain).expect("opens");
        self.fill(&mut ledger);
        compose(&ledger, self.round, self.due, DISTRIBUTION, &self.domain).expect("aggregates")
    }

    /// What follows from these receipts, whether or not they are for this round.
    fn of<'a>(&self, receipts: impl IntoIterator<Item = &'a Signed<Receipt>>) -> Payload {
        let receipts = receipts
            .into_iter()
            .map(|receipt| (receipt.id(&self.domain), &receipt.body));
        Payload::aggregate(self.round, DISTRIBUTION, receipts, &self.domain).expect("aggregates")
    }

    /// A payload under the hash that it yields; under any, if it yields none.
    fn propose(&self, payload: Payload) -> Proposed {
        let hash = payload.proposal_hash(&self.domain);
        Proposed {
            hash: hash.unwrap_or(B256::repeat_byte(0xbb)),
            payload,
        }
    }

    /// The true payload under the hash of an update that does not follow from it.
    fn propose_update(&self, change: impl FnOnce(&mut StateUpdate)) -> Proposed {
        let payload = self.honest();
        let mut update = payload.state_update().expect("an update");
        change(&mut update);
        let Domain {
            chain_id,
            coordinator,
            ..
        } = self.domain;
        Proposed {
            hash: proposal_hash(chain_id, coordinator, self.round, &update),
            payload,
        }
    }

    fn publish(&self, n: u8, proposed: Proposed) -> SignedPayload {
        let body = PublishedPayload {
            publisher: identity(n).address(),
            proposal_hash: proposed.hash,
            payload: proposed.payload,
        };
        Signed::sign(body, &self.domain, &identity(n).wallet)
    }
}

/// A hash, and what is published under it.
struct Proposed {
    hash: B256,
    payload: Payload,
}

/// The first drawn proposer proposes and publishes what `lie` says, and votes for it. The second proposes what follows from
/// what all hold. Both others say `objection` to the first proposal, and vote for the second.
async fn gets_no_honest_vote(lie: impl AsyncFnOnce(&mut Scene) -> Proposed, objection: &str) {
    let world = World::new();
    let observer = world.observer().await;
    let issued_at = observer.head().await.expect("a head").timestamp;
    let (round, liar) = world.open_round(&observer).await;
    let second = observer.proposers().await.expect("the chain answers")[1];
    let second = (0..VALIDATORS)
        .find(|n| identity(*n).address() == second)
        .expect("a validator");
    let mut scene = Scene::new(&world, &observer, issued_at, round).await;
    let wrong = lie(&mut scene).await;
    let right = scene.propose(scene.honest());
    let (lied, honest) = (wrong.hash, right.hash);
    assert_ne!(lied, honest);

    world.act(liar, Coordinator::createProposalCall { proposalHash: lied });
    // Its own node would object as well, if it had not voted.
    let vote = Coordinator::voteForProposalCall {
        proposalNum: 1,
        proposalHash: lied,
    };
    world.act(liar, vote);
    let proposal = Coordinator::createProposalCall {
        proposalHash: honest,
    };
    world.act(second, proposal);
    // From now on a block is mined whenever a transaction is waited for.
    world.shared.lock().mining = true;
    let (wrong, right) = (scene.publish(liar, wrong), scene.publish(second, right));
    let mut nodes = Vec::new();
    for n in 0..VALIDATORS {
        let node = world.start(n, n == liar).await;
        scene.fill(&mut validator(&node).ledger());
        let (hash, published) = if n == liar {
            (lied, &wrong)
        } else {
            (honest, &right)
        };
        let store = &node.context().store;
        store
            .put(Table::Payloads, hash.as_slice(), published)
            .expect("stored");
        nodes.push(node);
    }
    let votes = || world.events::<Coordinator::VoteCast>();
    world
        .until("a vote of everyone", || {
            votes().len() == usize::from(VALIDATORS)
        })
        .await;

    for vote in votes() {
        let is_liar = vote.validator == identity(liar).address();
        let expected = if is_liar { lied } else { honest };
        assert_eq!(vote.proposalHash, expected, "{}", vote.validator);
    }
    let log = world.log();
    let objections: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("no vote") && line.contains(&lied.to_string()))
        .filter(|line| line.contains("WARN"))
        .collect();
    // Proposals are judged in their order, so both have come to the first one.
    assert!(objections.len() >= 2, "nobody objects:\n{log}");
    for said in objections {
        assert!(said.contains(objection), "not {objection:?}: {said}");
    }
}

/// One test for each: its name, what the first proposer makes of the scene, and what the objection says.
macro_rules! refused {
    ($($name:ident: $lie:expr => $words:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            gets_no_honest_vote($lie, $words).await;
        }
    )*};
}

/// The same of one change to the true payload.
macro_rules! refused_changes {
    ($($name:ident: $change:expr => $words:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let change: fn(&mut Payload, &Scene) = $change;
            let lie = async |scene: &mut Scene| {
                let mut payload = scene.honest();
                change(&mut payload, scene);
                assert_ne!(payload, scene.honest(), "the change changes something");
                scene.propose(payload)
            };
            gets_no_honest_vote(lie, $words).await;
        }
    )*};
}

refused_changes! {
    a_raised_capacity: |p, _| p.workers[0].1 += 1 => "a worker's capacity is not what follows";
    a_lowered_capacity: |p, _| p.workers[1].1 -= 1 => "a worker's capacity is not what follows";
    one_bit_of_a_capacity: |p, _| p.workers[1].1 ^= 1 << 40 => "a worker's capacity is not what follows";
    capacities_exchanged_for_the_same_total: |p, _| {
        p.workers[0].1 += 7;
        p.workers[1].1 -= 7;
    } => "a worker's capacity is not what follows";
    a_swapped_worker: |p, _| p.workers[0].0 = Address::repeat_byte(1) => "a worker's capacity is not what follows";
    a_dropped_worker: |p, _| p.workers.truncate(1) => "a worker's capacity is not what follows";
    an_added_worker: |p, _| p.workers.push((Address::repeat_byte(0xff), 1)) => "a worker's capacity is not what follows";
    a_worker_listed_twice: |p, _| p.workers.push(p.workers[1]) => "no reward tree";
    another_job: |p, _| p.jobs[0] = B256::repeat_byte(1) => "the list of jobs is not what follows";
    an_unfinished_job: |p, scene| {
        p.jobs.push(scene.job_id(77, 5_000));
        p.jobs.sort_unstable();
    } => "the list of jobs is not what follows";
    a_dropped_job: |p, _| p.jobs.clear() => "the list of jobs is not what follows";
    a_job_listed_twice: |p, _| p.jobs.push(p.jobs[0]) => "the list of jobs is not what follows";
    a_free_job_among_the_paid: |p, scene| {
        p.jobs.push(scene.job_id(1, 0));
        p.jobs.sort_unstable();
    } => "the list of jobs is not what follows";
    a_removed_validator: |p, _| p.validators_to_remove.push(identity(0).address())
        => "the list of validators to remove is not what follows";
    a_raised_reputation: |p, _| p.reputation_changes[0].1 = 100 => "a reputation change is not what follows";
    a_lowered_reputation: |p, _| p.reputation_changes[0].1 = -100 => "a reputation change is not what follows";
    a_dropped_reputation_change: |p, _| p.reputation_changes.clear() => "a reputation change is not what follows";
    a_reputation_change_of_another: |p, _| p.reputation_changes[0].0 = wallet(2).address()
        => "a reputation change is not what follows";
    a_receipt_whose_slot_is_another: |p, _| p.receipts[0].1 = B256::ZERO => "the list of receipts is not what follows";
    a_receipt_listed_twice: |p, _| p.receipts.push(p.receipts[0]) => "the list of receipts is not what follows";
    receipts_in_another_order: |p, _| p.receipts.swap(0, 1) => "the list of receipts is not what follows";
    a_receipt_that_is_paid_for_but_not_listed: |p, _| p.receipts.truncate(3) => "is not what follows";
    a_receipt_that_nobody_has: |p, _| p.receipts.push((B256::repeat_byte(0xff), B256::ZERO)) => "1 receipts in it are unknown here";
    another_round: |p, _| p.round += 1 => "it is for round 2 and distribution 1";
    another_distribution: |p, _| p.distribution_id += 1 => "it is for round 1 and distribution 2";
}

refused! {
    another_total: async |scene: &mut Scene| {
        scene.propose_update(|update| update.totalCapacity -= U256::from(1))
    } => "the payload yields the hash";
    the_root_of_other_leaves: async |scene: &mut Scene| {
        let mut other = scene.honest();
        other.workers[0].1 += 1;
        let root = other.tree().expect("a tree").expect("leaves").root();
        scene.propose_update(|update| update.merkleRoot = root)
    } => "the payload yields the hash";
    the_hash_of_other_workers: async |scene: &mut Scene| {
        scene.propose_update(|update| update.workersHash = B256::repeat_byte(1))
    } => "the payload yields the hash";
    the_hash_of_other_capacities_or_receipts: async |scene: &mut Scene| {
        scene.propose_update(|update| update.capacitiesHash = B256::repeat_byte(1))
    } => "the payload yields the hash";
    an_omitted_receipt_that_the_voters_hold: async |scene: &mut Scene| {
        scene.propose(scene.of(&scene.held[1..]))
    } => "is left out, though it was issued";
    a_receipt_of_a_round_to_come: async |scene: &mut Scene| {
        let next = scene.challenge(0, 12, scene.round + 1, scene.issued_at).await;
        scene.held.push(next);
        scene.propose(scene.of(&scene.held))
    } => "of a round that is too far away";
    a_receipt_issued_after_the_cut_off: async |scene: &mut Scene| {
        let late = scene.challenge(1, 12, scene.round, scene.due).await;
        scene.held.push(late);
        scene.propose(scene.of(&scene.held))
    } => "issued after the cut-off";
    a_receipt_that_is_settled_already: async |scene: &mut Scene| {
        let settled = scene.held[0].clone();
        scene.settled.push(scene.id_and_slot(&settled));
        scene.propose(scene.of(&scene.held))
    } => "settled before";
    work_that_another_receipt_has_settled: async |scene: &mut Scene| {
        let another = scene.job(1, 2, 1_000).await;
        scene.settled.push(scene.id_and_slot(&another));
        scene.propose(scene.of(&scene.held))
    } => "settled before";
    one_piece_of_work_under_two_receipts: async |scene: &mut Scene| {
        let again = scene.job(1, 2, 1_000).await;
        let mut payload = scene.honest();
        payload.receipts.push(scene.id_and_slot(&again));
        payload.receipts.sort_unstable();
        scene.held.push(again);
        scene.propose(payload)
    } => "settles work that another receipt in the payload settles";
    more_free_jobs_of_a_user_than_its_quota: async |scene: &mut Scene| {
        for nonce in (10..).take(FREE_JOBS_PER_ROUND) {
            let free = scene.job(0, nonce, 0).await;
            scene.held.push(free);
        }
        scene.propose(scene.of(&scene.held))
    } => "more free jobs of one user";
}
