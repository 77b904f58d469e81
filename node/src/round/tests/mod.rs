//! From receipts to executed updates: what a voter accepts, what a reorganisation gives back, and that nothing is paid
//! twice or lost.

#[cfg(not(madsim))]
mod belief;
mod carry;
#[cfg(not(madsim))]
mod collect;
#[cfg(not(madsim))]
mod disk;
mod judge;
#[cfg(not(madsim))]
mod lies;
#[cfg(not(madsim))]
mod network;
#[cfg(not(madsim))]
mod reorg;
#[cfg(not(madsim))]
mod world;

use super::aggregate::compose;
use super::judge::RoundFacts;
use super::payload::Payload;
use crate::jobs::ledger::Ledger;
use crate::testing::{challenge_receipt, domain, job_receipt, job_request, ledger, wallet};

/// The round's due time, chain seconds.
const DUE: u64 = 100_000;

fn facts() -> RoundFacts {
    RoundFacts {
        round: 4,
        cutoff: DUE,
        distribution_id: 4,
        gossip_margin_seconds: 900,
    }
}

/// Two challenges, a free job of two tasks and a paid job, verified long before the cut-off.
async fn full_ledger() -> Ledger {
    let mut ledger = ledger();
    let (validator, user) = (wallet(1), wallet(9));
    let workers = [wallet(11), wallet(12)];
    for worker in &workers {
        let receipt = challenge_receipt(&validator, worker, 4, 0, 50_000).await;
        assert!(ledger.insert(receipt, 50_001).expect("stored"));
    }
    for (nonce, payment) in [(1, 0), (2, 1_000)] {
        let request = job_request(&user, nonce, payment, 2);
        let receipt =
            job_receipt(&validator, &[&workers[0], &workers[1]], request, 4, 60_000).await;
        assert!(ledger.insert(receipt, 60_001).expect("stored"));
    }
    ledger
}

fn payload(ledger: &Ledger) -> Payload {
    compose(ledger, 4, DUE, 4, &domain()).expect("aggregates")
}
