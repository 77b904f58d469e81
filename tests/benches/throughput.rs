//! Jobs through one validator on loopback, with 16 workers: `cargo bench --bench throughput`.
//!
//! Every job is paid (escrowed on chain beforehand, which is not measured), has one task of about a millisecond, and
//! makes its whole way over real sockets: submitted, checked against its escrow, offered, ordered, executed, verified,
//! stored, receipted. Its time ends when the receipt arrives by gossip. So many jobs as places are under way at once.
//! `SMARTNODES_JOBS` sets their number; with 100,000 of them it takes a quarter of an hour and shows, part by part, how
//! the validator's memory grows with the receipts that it holds. Meanwhile the network holds rounds of a minute. One
//! update settles a few hundred jobs at most (`round::payload::EXECUTION_GAS_MAX`), so that here, unlike in a network with
//! rounds of hours, many receipts wait for one, and the oldest are given up.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real processes, files and time are the point here"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use libp2p::{PeerId, gossipsub::MessageAcceptance};
use smartnodes_actors::Speaker;
use smartnodes_node::jobs::receipt::Work;
use smartnodes_node::jobs::{JobRequest, Shape};
use smartnodes_node::p2p::wire::{Gossip, Request, Response};
use smartnodes_node::p2p::{Event, Network};
use smartnodes_node::signed::{Signed, decode};
use smartnodes_node::work::hash_chain::HashChain;
use smartnodes_node::work::{Task, TaskKind};
use smartnodes_tests::error::TestnetError;
use smartnodes_tests::story::{Settings, Testnet};
use tokio::sync::mpsc;

const WORKERS: u16 = 16;
/// Jobs under way at once: each worker has room for two tasks.
const AT_ONCE: usize = 2 * WORKERS as usize;
/// About a millisecond of one core (`cargo bench -p smartnodes-node --bench work`).
const STEPS: u64 = 8_500;
/// Jobs that are escrowed and then run, one part after the other: a payment can be taken back, and so is not believed,
/// after some intervals.
const PART: usize = 2_500;
/// Jobs after which the memory is shown.
const SHOW_MEMORY: usize = 10_000;
/// A job without a receipt for so long fails the benchmark.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    // Under `cargo test --benches` there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let jobs = std::env::var("SMARTNODES_JOBS").map_or(Ok(2_000), |jobs| jobs.parse());
    let Ok(jobs) = jobs else {
        eprintln!("SMARTNODES_JOBS is a number of jobs");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Err(error) = runtime.block_on(measure(jobs)) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn measure(jobs: u64) -> Result<(), TestnetError> {
    let dir = tempfile::tempdir().map_err(TestnetError::set_up)?;
    let mut testnet = Testnet::start(Settings {
        validators: 1,
        workers: WORKERS,
        users: 1,
        updates: 1,
        interval_seconds: 60,
        dir: dir.path().join("testnet"),
        rpc_port: 0,
    })
    .await?;
    // The workers' shares of two updates are what a user has to lock.
    testnet.until_claimed(2).await?;
    let user = testnet.fund_user().await?;
    let requests: Vec<JobRequest> = (0..jobs)
        .map(|nonce| JobRequest {
            user: testnet.address(&user).unwrap_or_default(),
            network: "hash-chain".to_owned(),
            shape: Shape::Parallel,
            tasks: vec![Task {
                kind: TaskKind::HashChain(HashChain { steps: STEPS }),
                input: nonce.to_be_bytes().to_vec(),
            }],
            replication: 1,
            payment: 1,
            nonce,
        })
        .collect();
    let mebibytes = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |b| (b >> 20).to_string());
    let before = testnet.memory("validator-1");
    let mut times = Vec::with_capacity(requests.len());
    let mut measured = Duration::ZERO;
    let mut submitter = Submitter::connect(&testnet, &user).await?;
    for part in requests.chunks(PART) {
        testnet.escrow(&user, part).await?;
        let began = Instant::now();
        times.extend(submitter.submit_all(part).await?);
        measured += began.elapsed();
        if times.len().is_multiple_of(SHOW_MEMORY) {
            println!(
                "after {} jobs: {:.1} jobs/s so far, validator's memory {} MiB",
                times.len(),
                times.len() as f64 / measured.as_secs_f64(),
                mebibytes(testnet.memory("validator-1"))
            );
        }
    }
    times.sort();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        times
            .get(place.min(times.len() - 1))
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{} jobs, {AT_ONCE} at once, {WORKERS} workers: {:.1} jobs/s; submission to receipt p50 {:.0} ms, p99 {:.0} ms",
        times.len(),
        times.len() as f64 / measured.as_secs_f64(),
        at(0.5).as_secs_f64() * 1e3,
        at(0.99).as_secs_f64() * 1e3,
    );
    println!(
        "validator's memory: {} MiB before, {} MiB after",
        mebibytes(before),
        mebibytes(testnet.memory("validator-1"))
    );
    testnet.stop().await
}

/// The user, on a swarm of its own.
struct Submitter {
    speaker: Speaker,
    network: Network,
    events: mpsc::Receiver<Event>,
    validator: PeerId,
}

impl Submitter {
    async fn connect(testnet: &Testnet, user: &str) -> Result<Self, TestnetError> {
        let (speaker, network, events) = testnet.impersonate(user).await?;
        let validator = testnet
            .peer_id("validator-1")
            .ok_or_else(|| TestnetError::set_up("there is no validator"))?;
        let mut submitter = Self {
            speaker,
            network,
            events,
            validator,
        };
        // The first heartbeats make the gossip's mesh.
        let ready = tokio::time::sleep(Duration::from_secs(4));
        tokio::pin!(ready);
        loop {
            tokio::select! {
                () = &mut ready => return Ok(submitter),
                event = submitter.events.recv() => drop(submitter.heard(event).await?),
            }
        }
    }

    /// Deals with an event, and returns the job whose receipt it is, if it is one.
    async fn heard(&self, event: Option<Event>) -> Result<Option<B256>, TestnetError> {
        match event {
            Some(Event::Request {
                peer,
                request: Request::Role { nonce },
                responder,
            }) => {
                responder.send(self.speaker.answer(peer, nonce)).await;
                Ok(None)
            }
            Some(Event::Gossip { data, ticket, .. }) => {
                self.network.judge(ticket, MessageAcceptance::Ignore).await;
                Ok(match decode(&data) {
                    Ok(Gossip::Receipt(receipt)) => match &receipt.body.work {
                        Work::Job { request, .. } => {
                            Some(request.body.job_id(&self.speaker.domain))
                        }
                        _ => None,
                    },
                    _ => None,
                })
            }
            Some(_) => Ok(None),
            None => Err(TestnetError::set_up("the swarm has ended")),
        }
    }

    /// Submits jobs as places become free, and returns the time that each took.
    async fn submit_all(&mut self, requests: &[JobRequest]) -> Result<Vec<Duration>, TestnetError> {
        let domain = self.speaker.domain;
        let mut waiting: VecDeque<&JobRequest> = requests.iter().collect();
        let mut under_way: BTreeMap<B256, Instant> = BTreeMap::new();
        let mut times = Vec::with_capacity(requests.len());
        while times.len() < requests.len() {
            while under_way.len() < AT_ONCE
                && let Some(request) = waiting.pop_front()
            {
                under_way.insert(request.job_id(&domain), Instant::now());
                let signed = Signed::sign(request.clone(), &domain, &self.speaker.identity.wallet);
                let (network, validator) = (self.network.clone(), self.validator);
                tokio::spawn(async move {
                    let request = Request::SubmitJob(Box::new(signed));
                    match network.request(validator, request).await {
                        Ok(Response::JobAdmitted { .. }) => {}
                        other => eprintln!("not admitted: {other:?}"),
                    }
                });
            }
            let Ok(event) = tokio::time::timeout(PATIENCE, self.events.recv()).await else {
                let reason = format!("{} jobs have no receipt", under_way.len());
                return Err(TestnetError::set_up(reason));
            };
            if let Some(job) = self.heard(event).await?
                && let Some(since) = under_way.remove(&job)
            {
                times.push(since.elapsed());
            }
        }
        Ok(times)
    }
}
