//! How each kind of fault is struck, and undone.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use madsim::rand::Rng;
use madsim::runtime::Handle;
use smartnodes_scenarios::{Direction, FaultKind, HostName, PartitionStyle, Unsynced};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::{Begun, Place, Stage, Strike, Struck, Target, nodes, runs};
use crate::chain_host::{Scope, Trouble, Wrong};
use crate::disk;
use crate::net::{Effect, Rule};
use crate::trace::Trace;

/// How long an operator takes to start a process again.
const OPERATOR: Duration = Duration::from_secs(1);

/// Does what a strike does, from beginning to end.
pub(super) async fn carry_out(strike: &Strike, stage: &Stage, begun: Begun) -> Struck {
    let (hosts, against) = (names(&strike.places), against(strike));
    info!(
        kind = strike.kind.name(),
        hosts,
        against,
        lasts = in_words(strike.lasts),
        "fault"
    );
    let at = begun.at;
    let began = Instant::now();
    let (affected, effect) = match &strike.kind {
        FaultKind::Crash { unsynced } => crash(strike, stage, *unsynced, begun.killed).await,
        FaultKind::RestartLoop { times, .. } => restart_loop(strike, stage, *times).await,
        FaultKind::Pause => pause(strike, stage).await,
        FaultKind::Partition {
            style, direction, ..
        } => {
            let effect = match style {
                PartitionStyle::Silent => Effect::Hold,
                PartitionStyle::Loud => Effect::Refuse,
            };
            rule(strike, stage, effect, *direction).await
        }
        FaultKind::Link {
            latency,
            loss,
            bandwidth,
            ..
        } => {
            let effect = Effect::Shape {
                latency: *latency,
                loss: loss.map(|loss| loss.probability()),
                bandwidth: *bandwidth,
            };
            rule(strike, stage, effect, Direction::Both).await
        }
        FaultKind::Reset { .. } => {
            let (these, those) = (
                addresses(&strike.places, stage),
                addresses(&strike.against, stage),
            );
            let broken = stage.net.reset(&these, &those);
            (broken, format!("{broken} connections reset"))
        }
        FaultKind::BitFlip => bit_flip(strike, stage).await,
        FaultKind::DiskLost => disk_lost(strike, stage).await,
        FaultKind::TimeJump { by } => {
            stage.chain.jump(*by);
            (1, format!("the chain's time has jumped by {by:?}"))
        }
        FaultKind::DiskFull => disk(strike, stage, &disk::Trouble::Full).await,
        FaultKind::DiskSyncFails => disk(strike, stage, &disk::Trouble::SyncFails).await,
        FaultKind::DiskSlow { sync_takes } => slow_disk(strike, stage, *sync_takes).await,
        FaultKind::Reorg { depth, forgets } => match stage.chain.reorg(*depth, *forgets) {
            Ok(undone) => (undone, format!("{undone} transactions undone")),
            Err(error) => (0, error.to_string()),
        },
        _ => chain(strike, stage).await,
    };
    Struck {
        kind: strike.kind.name().to_owned(),
        hosts: strike.places.iter().map(Place::to_string).collect(),
        at_seconds: at.as_secs_f64(),
        lasted_seconds: began.elapsed().as_secs_f64(),
        affected,
        effect,
    }
}

/// Hosts as the trace names them.
pub(super) fn names(places: &BTreeSet<Place>) -> String {
    let names: Vec<String> = places.iter().map(Place::to_string).collect();
    names.join(" ")
}

/// The other side of what lies between hosts; of what strikes hosts by themselves, `None`.
pub(super) fn against(strike: &Strike) -> Option<String> {
    let lies_between = matches!(
        strike.kind,
        FaultKind::Partition { .. } | FaultKind::Reset { .. } | FaultKind::Link { .. }
    );
    lies_between.then(|| names(&strike.against))
}

/// Waits for the end of a strike.
async fn last(strike: &Strike, stage: &Stage) {
    let mut healed = stage.healed.clone();
    let healed = async {
        // Nobody heals any more where the run has ended.
        if healed.wait_for(|healed| *healed).await.is_err() {
            std::future::pending().await
        }
    };
    match strike.lasts {
        Duration::MAX => healed.await,
        // Ended by its time or before it, which is the same here.
        lasts => _ = timeout(lasts, healed).await,
    }
}

/// A duration as a scenario says it.
fn in_words(lasts: Duration) -> String {
    match lasts {
        Duration::MAX => "forever".to_owned(),
        lasts => format!("{lasts:?}"),
    }
}

async fn crash(
    strike: &Strike,
    stage: &Stage,
    unsynced: Unsynced,
    killed: Vec<(HostName, u64)>,
) -> (u64, String) {
    let by_point = !killed.is_empty();
    let tasks = nodes(strike, stage).map(|(host, target)| {
        let lost = killed.iter().find(|(victim, _)| *victim == host);
        let lost = lost.map(|(_, lost)| *lost);
        async move {
            let _alone = target.busy.clone().lock_owned().await;
            let lost = if by_point {
                lost
            } else {
                target.kill(unsynced)
            };
            if let Some(writes_lost) = lost {
                info!(%host, writes_lost, "crash");
            }
            last(strike, stage).await;
            info!(%host, "restart");
            target.start();
            lost
        }
    });
    let lost: Vec<u64> = join_all(tasks).await.into_iter().flatten().collect();
    let (count, writes) = (lost.len() as u64, lost.iter().sum::<u64>());
    (
        count,
        format!("{count} processes ended, {writes} unsynced writes lost"),
    )
}

async fn restart_loop(strike: &Strike, stage: &Stage, times: u32) -> (u64, String) {
    let tasks = nodes(strike, stage).map(|(host, target)| async move {
        let _alone = target.busy.clone().lock_owned().await;
        let mut killed = 0;
        for _ in 0..times {
            if let Some(writes_lost) = target.kill(Unsynced::Lost) {
                info!(%host, writes_lost, "crash");
                killed += 1;
            }
            sleep(strike.lasts).await;
            info!(%host, "restart");
            target.start();
            sleep(strike.up_for).await;
        }
        killed
    });
    let killed: u64 = join_all(tasks).await.into_iter().sum();
    (killed, format!("{killed} times a process ended"))
}

async fn pause(strike: &Strike, stage: &Stage) -> (u64, String) {
    let tasks = nodes(strike, stage).map(|(_, target)| async move {
        let _alone = target.busy.clone().lock_owned().await;
        let ran = runs(&target);
        let handle = Handle::current();
        handle.pause(target.node);
        sleep(strike.lasts).await;
        handle.resume(target.node);
        u64::from(ran)
    });
    let paused: u64 = join_all(tasks).await.into_iter().sum();
    (paused, format!("{paused} processes stood still"))
}

async fn rule(
    strike: &Strike,
    stage: &Stage,
    effect: Effect,
    direction: Direction,
) -> (u64, String) {
    let rule = Rule {
        these: addresses(&strike.places, stage),
        those: addresses(&strike.against, stage),
        out: direction != Direction::In,
        back: direction != Direction::Out,
        effect,
    };
    let number = stage.net.add_rule(rule);
    last(strike, stage).await;
    let touched = stage.net.remove_rule(number);
    (
        touched,
        format!("{touched} messages and connections affected"),
    )
}

/// A disk that fails; when it works again, an operator starts the process anew.
async fn disk(strike: &Strike, stage: &Stage, trouble: &disk::Trouble) -> (u64, String) {
    let tasks = nodes(strike, stage).map(|(host, target)| async move {
        let _alone = target.busy.clone().lock_owned().await;
        target.disk.set_trouble(trouble.clone());
        sleep(strike.lasts).await;
        let failed = target.disk.set_trouble(disk::Trouble::None);
        restart(host, &target).await;
        failed
    });
    let failed: u64 = join_all(tasks).await.into_iter().sum();
    (failed, format!("{failed} disk operations failed"))
}

/// A machine fails and comes back with one bit of its disk changed.
async fn bit_flip(strike: &Strike, stage: &Stage) -> (u64, String) {
    let tasks = nodes(strike, stage).map(|(host, target)| async move {
        let _alone = target.busy.clone().lock_owned().await;
        if let Some(writes_lost) = target.kill(Unsynced::Lost) {
            info!(%host, writes_lost, "crash");
        }
        let mut rng = madsim::rand::thread_rng();
        let flipped = target.disk.flip(|count| rng.gen_range(0..count));
        if let Some(at) = flipped {
            info!(%host, at, "a bit of the disk has changed");
        }
        last(strike, stage).await;
        info!(%host, "restart");
        target.start();
        u64::from(flipped.is_some())
    });
    let flipped: u64 = join_all(tasks).await.into_iter().sum();
    (flipped, format!("{flipped} bits changed"))
}

/// A machine is gone with its disk, and another one takes its place.
async fn disk_lost(strike: &Strike, stage: &Stage) -> (u64, String) {
    let tasks = nodes(strike, stage).map(|(host, target)| async move {
        let _alone = target.busy.clone().lock_owned().await;
        if let Some(writes_lost) = target.kill(Unsynced::Lost) {
            info!(%host, writes_lost, "crash");
        }
        let bytes = target.disk.replace();
        info!(%host, bytes, "the disk is lost");
        last(strike, stage).await;
        info!(%host, "restart");
        target.start();
        bytes
    });
    let held = join_all(tasks).await.into_iter().filter(|bytes| *bytes > 0);
    let lost = held.count() as u64;
    (lost, format!("{lost} disks lost with what they held"))
}

async fn restart(host: HostName, target: &Target) {
    if let Some(writes_lost) = target.kill(Unsynced::Lost) {
        info!(%host, writes_lost, "ended by its operator");
    }
    sleep(OPERATOR).await;
    info!(%host, "restart");
    target.start();
}

async fn slow_disk(strike: &Strike, stage: &Stage, sync_takes: Duration) -> (u64, String) {
    let tasks = nodes(strike, stage).map(|(_, target)| async move {
        let _alone = target.busy.clone().lock_owned().await;
        let (syncs, mut synced) = mpsc::unbounded_channel();
        let (handle, node) = (Handle::current(), target.node);
        let wait = {
            let handle = handle.clone();
            move || {
                handle.pause(node);
                // The fault may be over.
                let _ = syncs.send(());
            }
        };
        target.disk.set_trouble(disk::Trouble::Slow(Arc::new(wait)));
        let end = Instant::now() + strike.lasts;
        while let Ok(Some(())) =
            timeout(end.saturating_duration_since(Instant::now()), synced.recv()).await
        {
            sleep(sync_takes).await;
            // Several syncs before the process stood still take as long as one.
            while synced.try_recv().is_ok() {}
            handle.resume(node);
        }
        let slow = target.disk.set_trouble(disk::Trouble::None);
        handle.resume(node);
        slow
    });
    let slow: u64 = join_all(tasks).await.into_iter().sum();
    (slow, format!("{slow} syncs were slow"))
}

async fn chain(strike: &Strike, stage: &Stage) -> (u64, String) {
    let hosts = Scope {
        hosts: addresses(&strike.places, stage),
        endpoint: strike.endpoint,
    };
    let read = |read: fn(&smartnodes_evm::chain::Chain) -> u64| stage.chain.read(read);
    let (trouble, what) = match &strike.kind {
        FaultKind::RpcOutage => (Trouble::Outage(hosts), "requests unanswered"),
        FaultKind::RpcStale => {
            let block = read(|chain| chain.block_number());
            (
                Trouble::Stale(hosts, block),
                "requests answered from an old block",
            )
        }
        FaultKind::RpcLies => (Trouble::Lies(hosts), "requests answered untruly"),
        FaultKind::ClockSkew { by, behind } => (
            Trouble::Clock(hosts, Wrong::Steadily(seconds(*by, *behind))),
            "blocks seen at another time",
        ),
        FaultKind::ClockDrift { by, behind } => {
            let wrong = Wrong::Growing {
                by: seconds(*by, *behind),
                from: Trace::now(),
                over: strike.lasts,
            };
            (Trouble::Clock(hosts, wrong), "blocks seen at another time")
        }
        FaultKind::InclusionDelay { by } => (Trouble::Delay(hosts, *by), "transactions delayed"),
        FaultKind::ReorderTransactions { by } => {
            (Trouble::Reorder(hosts, *by), "transactions out of order")
        }
        FaultKind::DropTransactions { share } => (
            Trouble::Drop(hosts, share.probability()),
            "transactions thrown away",
        ),
        FaultKind::FeeSpike { times } => {
            let trouble = Trouble::Fee {
                times: u64::from(*times),
                before: read(|chain| chain.base_fee()),
            };
            (trouble, "transactions at a higher fee")
        }
        FaultKind::TimestampDrift { by } => (Trouble::Drift(by.as_secs()), "blocks of the future"),
        _ => (Trouble::Stop, "blocks left out"),
    };
    let number = stage.chain.begin(trouble);
    last(strike, stage).await;
    let touched = stage.chain.end(number);
    (touched, format!("{touched} {what}"))
}

fn seconds(by: Duration, behind: bool) -> i64 {
    let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
    if behind { -seconds } else { seconds }
}

fn addresses(places: &BTreeSet<Place>, stage: &Stage) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    for place in places {
        match place {
            Place::Node(host) => {
                addresses.extend(stage.targets.get(host).map(|host| host.endpoint.address()));
            }
            Place::Chain => addresses.extend(&stage.chain_addresses),
        }
    }
    addresses
}
