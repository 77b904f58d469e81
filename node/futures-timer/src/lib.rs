//! Gives libp2p its timers on the workspace's tokio clock.
//!
//! libp2p's core, swarm and behaviours all wait on [`Delay`] of the crate `futures-timer`. The stock crate drives it from
//! an operating-system thread of its own, which has no place in a simulation on virtual time: it would neither follow
//! the virtual clock nor be allowed to start. This crate keeps the name and the interface and waits on `tokio::time`
//! instead, which is the real tokio in a plain build and the simulator's clock under `--cfg madsim`. One code serves
//! both; nothing here asks which it is.
//!
//! What flows through: a duration in, one wake-up out. What it never does: start a thread, read another clock, or
//! leave more than one live timer behind for each delay however often it is polled (the simulator's timer queue cannot
//! cancel, so an entry for each poll would fill it).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep_until};

/// Stands for "never" where a duration is too long to be added to the clock: thirty years.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// A future that is ready once its duration, counted from its making or its last [`Delay::reset`], has passed.
pub struct Delay {
    deadline: Instant,
    /// The runtime's timer; made at the first poll, so that a delay may be made where no runtime is entered.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether `sleep` has been polled and so holds `signal` as its waker.
    armed: bool,
    signal: Arc<Signal>,
}

/// What the runtime's timer wakes. It stays the same for the life of the delay while the task behind it may change, so
/// the timer itself needs to be polled again only after it has fired.
#[derive(Default)]
struct Signal {
    fired: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.fired.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Delay {
    /// A delay of `duration` from now.
    pub fn new(duration: Duration) -> Delay {
        Delay {
            deadline: deadline_after(duration),
            sleep: None,
            armed: false,
            signal: Arc::default(),
        }
    }

    /// Starts the delay again: it is ready `duration` from now, whether or not it was ready before.
    pub fn reset(&mut self, duration: Duration) {
        let deadline = deadline_after(duration);
        if deadline < self.deadline {
            // The timer that is set would fire too late: set another at the next poll, and let this one wake nobody.
            self.disarm();
            self.signal = Arc::default();
            self.sleep = None;
            self.armed = false;
        } else if let Some(sleep) = &mut self.sleep {
            // The timer that is set may fire at the old time; the poll that follows sets it for the rest.
            sleep.as_mut().reset(deadline);
        }
        self.deadline = deadline;
    }

    /// The runtime's timer may outlive the delay, since the simulator's queue cannot cancel. It must not wake a task that
    /// waits for it no more: the task would look at all it has, and a connection that is looked at sends pings.
    fn disarm(&self) {
        drop(self.signal.task.take());
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Registered before `fired` is read, so that a wake-up in between is not lost.
        this.signal.task.register(cx.waker());
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(this.deadline)));
        if this.armed && !this.signal.fired.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let waker = Waker::from(this.signal.clone());
        let ready = sleep.as_mut().poll(&mut Context::from_waker(&waker));
        // A delay polled after it was ready is ready again: it is then not armed and asks the timer each time.
        this.armed = ready.is_pending();
        ready
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay")
            .field("deadline", &self.deadline)
            .finish()
    }
}

fn deadline_after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration)
        .unwrap_or_else(|| now + FAR_FUTURE)
}

#[cfg(test)]
mod tests;
