//! The worker: registers with every validator, executes what it is given, delivers, and claims its rewards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::{Address, B256};
use libp2p::PeerId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::context::{Context, Peer, workload_of};
use super::results::Results;
use crate::failpoint::sometimes;
use crate::jobs::receipt::{Answer, WorkKind, WorkOrder, challenge_task};
use crate::p2p::handshake::Role;
use crate::p2p::wire::{Refusal, Request, Response};
use crate::round::claims;
use crate::signed::{Signed, Statement};
use crate::store::StoreError;
use crate::tasks::JoinSet;

/// How long a task is kept a place for, from the offer to the order.
const RESERVATION: Duration = Duration::from_secs(120);
/// How long an order is answered only when it is done; after it, the answer is that the worker is at it. Less than any
/// peer waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A worker registers on every new connection, and again after this time: the answer may have been lost.
const REGISTER_AGAIN: Duration = Duration::from_secs(300);
/// Orders that may wait for their execution to begin.
const ORDERS_MAX: usize = 256;

/// Wait between two looks for results that are too old.
const DROP_RESULTS: Duration = Duration::from_secs(3_600);

/// How an order at work ended, once it has.
type Ended = watch::Receiver<Option<Result<(), Refusal>>>;

/// A worker's state.
pub struct Worker {
    /// The shared parts.
    pub ctx: Arc<Context>,
    results: Results,
    /// Job tasks that are reserved or running, at most `capacity` of them, and until when a reservation holds; `None` while
    /// the task runs.
    busy: Mutex<BTreeMap<Place, Option<Instant>>>,
    /// Orders at work, by their digest.
    at_work: Mutex<BTreeMap<B256, Ended>>,
    orders: mpsc::Sender<Order>,
    queue: Mutex<Option<mpsc::Receiver<Order>>>,
}

/// A task that a validator has reserved a place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    validator: Address,
    job: B256,
    task: u16,
}

impl Place {
    fn of(order: &WorkOrder) -> Option<Self> {
        match order.kind {
            WorkKind::Job { job, task, .. } => Some(Self {
                validator: order.validator,
                job,
                task,
            }),
            WorkKind::Challenge { .. } => None,
        }
    }
}

/// An order on its way to be executed.
struct Order {
    id: B256,
    order: WorkOrder,
    ended: watch::Sender<Option<Result<(), Refusal>>>,
}

fn unavailable(error: StoreError) -> Refusal {
    Refusal::Unavailable(error.to_string())
}

impl Worker {
    /// A worker without work.
    pub fn new(ctx: Arc<Context>) -> Self {
        let (orders, queue) = mpsc::channel(ORDERS_MAX);
        Self {
            results: Results::new(ctx.store.clone()),
            ctx,
            busy: Mutex::default(),
            at_work: Mutex::default(),
            orders,
            queue: Mutex::new(Some(queue)),
        }
    }

    pub(super) fn spawn_tasks(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        tasks.spawn(claims::run(self.ctx.clone()));
        let worker = self.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(REGISTER_AGAIN).await;
                for validator in worker.ctx.peers_with(Role::Validator) {
                    worker.greet(&validator).await;
                }
            }
        });
        let worker = self.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(DROP_RESULTS).await;
                if let Err(error) = worker.results.drop_old(worker.ctx.clock.now()) {
                    warn!(%error, "old results are still kept");
                }
            }
        });
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(queue) = queue {
            tasks.spawn(execute_orders(self.clone(), queue));
        }
    }

    fn busy(&self) -> MutexGuard<'_, BTreeMap<Place, Option<Instant>>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_work(&self) -> MutexGuard<'_, BTreeMap<B256, Ended>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers with a validator.
    pub(super) async fn greet(&self, peer: &Peer) {
        if peer.role != Role::Validator {
            return;
        }
        match self.ctx.network.request(peer.id, Request::Register).await {
            Ok(Response::Registered) => debug!(validator = %peer.wallet, "registered"),
            Ok(other) => debug!(validator = %peer.wallet, answer = ?other, "not registered"),
            Err(error) => debug!(validator = %peer.wallet, %error, "not registered"),
        }
    }

    pub(super) async fn answer(&self, peer: PeerId, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::Offer { job, task } => {
                let validator = self.ctx.require(peer, Role::Validator).await?;
                self.reserve(Place {
                    validator: validator.wallet,
                    job,
                    task,
                })?;
                Ok(Response::Accepted)
            }
            Request::Work(order) => {
                let validator = self.ctx.require(peer, Role::Validator).await?;
                self.work(&validator, *order).await
            }
            Request::Output { job, task } => {
                let user = self.ctx.require(peer, Role::User).await?;
                let now = self.ctx.clock.now();
                let output = self
                    .results
                    .deliver(user.wallet, job, task, now)
                    .map_err(unavailable)?
                    .ok_or(Refusal::NotFound)?;
                Ok(Response::Output(Box::new(output)))
            }
            _ => Err(Refusal::NotServed),
        }
    }

    fn reserve(&self, place: Place) -> Result<(), Refusal> {
        let mut busy = self.busy();
        let now = Instant::now();
        busy.retain(|_, until| until.is_none_or(|until| until > now));
        if !busy.contains_key(&place) && busy.len() >= self.ctx.config.capacity as usize {
            sometimes!("worker/busy");
            return Err(Refusal::Busy);
        }
        busy.entry(place)
            .and_modify(|until| {
                if until.is_some() {
                    *until = Some(now + RESERVATION);
                }
            })
            .or_insert(Some(now + RESERVATION));
        Ok(())
    }

    /// Does what a validator orders, once: asked again, it gives the same answer, or says that it is still at it.
    async fn work(&self, validator: &Peer, order: WorkOrder) -> Result<Response, Refusal> {
        self.check(validator, &order)?;
        let id = order.digest(&self.ctx.domain);
        if let Some(answer) = self.kept(id)? {
            sometimes!("worker/asked-again");
            self.free(&order);
            return Ok(Response::Work(Box::new(answer)));
        }
        let mut ended = self.begin(id, order)?;
        let waited =
            tokio::time::timeout(ANSWER_WITHIN, ended.wait_for(|ended| ended.is_some())).await;
        match waited {
            Ok(Ok(result)) => {
                if let Some(Err(refusal)) = result.clone() {
                    return Err(refusal);
                }
            }
            // The node is stopping.
            Ok(Err(_)) => return Err(Refusal::Busy),
            Err(_) => return Ok(Response::Working),
        }
        let answer = self.kept(id)?.ok_or(Refusal::NotFound)?;
        Ok(Response::Work(Box::new(answer)))
    }

    /// Puts an order to work unless it is at work already.
    fn begin(&self, id: B256, order: WorkOrder) -> Result<Ended, Refusal> {
        let mut at_work = self.at_work();
        if let Some(ended) = at_work.get(&id) {
            return Ok(ended.clone());
        }
        let place = Place::of(&order);
        if place.is_some_and(|place| !self.busy().contains_key(&place)) {
            // After a restart the reservation is gone; the validator offers again.
            return Err(Refusal::Busy);
        }
        let (sender, ended) = watch::channel(None);
        self.orders
            .try_send(Order {
                id,
                order,
                ended: sender,
            })
            .map_err(|_| Refusal::Busy)?;
        if let Some(place) = place {
            self.busy().insert(place, None);
        }
        at_work.insert(id, ended.clone());
        Ok(ended)
    }

    /// Executes an order and keeps what came out.
    async fn execute(&self, id: B256, order: WorkOrder) -> Result<(), Refusal> {
        info!(order = %id, workload = order.task.network(), "work begun");
        let executed = order.task.execute().await;
        let output = match executed {
            Ok(output) => output,
            Err(error) => {
                self.free(&order);
                return Err(Refusal::Invalid(error.to_string()));
            }
        };
        let capacity = order.task.kind.capacity(&output);
        let result = Signed::sign(
            order.result(&output),
            &self.ctx.domain,
            &self.ctx.identity.wallet,
        );
        let answer = Answer { result, output };
        let of_job = match order.kind {
            WorkKind::Job { job, task, user } => Some((job, task, user)),
            WorkKind::Challenge { .. } => None,
        };
        // Told before it is stored: what a crash leaves stored has been told of.
        let job = of_job.map(|(job, ..)| tracing::field::display(job));
        let task = of_job.map(|(_, task, _)| task);
        info!(order = %id, worker = %self.ctx.address(), capacity, job, task, "work done");
        let stored = self.results.keep(id, &answer, of_job, self.ctx.clock.now());
        self.free(&order);
        stored.map_err(unavailable)?;
        Ok(())
    }

    fn kept(&self, order: B256) -> Result<Option<Answer>, Refusal> {
        self.results.get(order).map_err(unavailable)
    }

    fn free(&self, order: &WorkOrder) {
        if let Some(place) = Place::of(order) {
            self.busy().remove(&place);
        }
    }

    fn check(&self, validator: &Peer, order: &WorkOrder) -> Result<(), Refusal> {
        if order.worker != self.ctx.address() {
            return Err(Refusal::Invalid("the order is for another worker".into()));
        }
        if order.validator != validator.wallet {
            return Err(Refusal::Invalid("the order is another validator's".into()));
        }
        order
            .task
            .check()
            .map_err(|error| Refusal::Invalid(error.to_string()))?;
        match &order.kind {
            kind @ WorkKind::Challenge { .. } => {
                let expected =
                    challenge_task(&self.ctx.domain, order.validator, order.worker, kind);
                if order.task != expected {
                    return Err(Refusal::Invalid(
                        "the task is not the one that the challenge gives".into(),
                    ));
                }
            }
            WorkKind::Job { .. } => {
                let workload = order.task.network();
                let mut served = self.ctx.config.networks.iter();
                if !served.any(|name| workload_of(name) == workload) {
                    return Err(Refusal::Invalid(format!(
                        "this worker does not serve {workload:?}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Executes orders as they come, side by side: places are limited where they are reserved.
async fn execute_orders(worker: Arc<Worker>, mut orders: mpsc::Receiver<Order>) {
    let mut running = JoinSet::new();
    loop {
        let order = tokio::select! {
            biased;
            Some(_) = running.join_next() => continue,
            order = orders.recv() => order,
        };
        let Some(Order { id, order, ended }) = order else {
            return;
        };
        let worker = worker.clone();
        running.spawn(async move {
            let result = worker.execute(id, order).await;
            worker.at_work().remove(&id);
            // Nobody may be waiting any more.
            let _ = ended.send(Some(result));
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Store;
    use crate::store::rows::{config, damaged, damages, rows_of};
    use crate::testing::{answer, job_request, wallet};

    #[tokio::test]
    async fn damaged_results_are_read_or_refused() {
        const NOW: u64 = 1_000_000;
        let store = Store::in_memory().expect("opens");
        let results = Results::new(store.clone());
        let (job, user) = (B256::repeat_byte(5), wallet(9));
        let task = job_request(&user, 1, 0, 1).body.tasks[0].clone();
        let kind = WorkKind::Job {
            job,
            task: 0,
            user: user.address(),
        };
        let answer = answer(wallet(1).address(), &wallet(11), kind, task).await;
        let user = user.address();
        let orders = [1, 2].map(B256::repeat_byte);
        for (order, of_job) in orders.into_iter().zip([Some((job, 0, user)), None]) {
            results.keep(order, &answer, of_job, NOW).expect("stored");
        }
        let rows = rows_of(&store);
        assert_eq!(rows.len(), 5);
        let now = prop_oneof![NOW - 10..NOW + 1_000_000, any::<u64>()];
        proptest!(config(), |(damages in damages(), now in now)| {
            let results = Results::new(damaged(&rows, &damages));
            let _ = orders.map(|order| results.get(order));
            // Whatever is delivered or dropped, it is by rows that hold together.
            let _ = results.deliver(user, job, 0, now);
            if results.drop_old(now).is_ok() {
                prop_assert!(results.drop_old(now).is_ok());
            }
        });
    }
}
