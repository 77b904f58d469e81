//! The same tests in both modes: `cargo test -p futures-timer` on the real clock, `cargo simtest` on the virtual one.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::poll_fn;
use tokio::time::{Instant, sleep, timeout};

use super::Delay;

/// Short enough for the real clock, long beside its precision.
const TICK: Duration = Duration::from_millis(40);

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    (count.clone(), Waker::from(count))
}

#[tokio::test]
async fn waits_for_its_duration() {
    let start = Instant::now();
    Delay::new(TICK).await;
    assert!(start.elapsed() >= TICK);
    assert!(start.elapsed() < TICK * 10);
}

#[tokio::test]
async fn counts_from_its_making_not_from_its_first_poll() {
    let delay = Delay::new(TICK);
    sleep(TICK * 2).await;
    let polled = Instant::now();
    delay.await;
    assert!(polled.elapsed() < TICK);
}

#[tokio::test]
async fn can_be_made_longer_and_shorter() {
    let start = Instant::now();
    let mut delay = Delay::new(TICK);
    assert!(futures::poll!(&mut delay).is_pending());
    delay.reset(TICK * 3);
    (&mut delay).await;
    assert!(start.elapsed() >= TICK * 3);

    let start = Instant::now();
    delay.reset(TICK * 100);
    assert!(futures::poll!(&mut delay).is_pending());
    delay.reset(TICK);
    timeout(TICK * 50, &mut delay)
        .await
        .expect("the shorter time counts");
    assert!(start.elapsed() >= TICK);
}

#[tokio::test]
async fn a_finished_delay_can_start_again() {
    let mut delay = Delay::new(TICK);
    (&mut delay).await;
    delay.reset(TICK);
    let start = Instant::now();
    (&mut delay).await;
    assert!(start.elapsed() >= TICK / 2);
}

#[tokio::test]
async fn many_polls_set_one_timer() {
    let (count, waker) = counter();
    let mut delay = pin!(Delay::new(TICK));
    for _ in 0..1000 {
        assert!(
            delay
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    sleep(TICK * 3).await;
    // A timer for each poll would have woken a thousand times.
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(
        delay
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    );
}

#[tokio::test]
async fn the_last_task_that_polled_is_woken() {
    let (first, first_waker) = counter();
    let (second, second_waker) = counter();
    let mut delay = pin!(Delay::new(TICK));
    assert!(
        delay
            .as_mut()
            .poll(&mut Context::from_waker(&first_waker))
            .is_pending()
    );
    assert!(
        delay
            .as_mut()
            .poll(&mut Context::from_waker(&second_waker))
            .is_pending()
    );
    sleep(TICK * 3).await;
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert_eq!(second.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_duration_beyond_the_clock_is_a_wait_without_end() {
    let mut delay = Delay::new(Duration::MAX);
    let polled = poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut delay).poll(cx))).await;
    assert!(polled.is_pending());
    assert!(timeout(TICK, delay).await.is_err());
}

#[tokio::test]
async fn a_delay_that_is_dropped_or_cut_short_wakes_nobody_at_its_old_time() {
    let (count, waker) = counter();
    let mut context = Context::from_waker(&waker);
    let mut dropped = Box::pin(Delay::new(TICK));
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);

    let mut short = pin!(Delay::new(TICK * 3));
    assert!(short.as_mut().poll(&mut context).is_pending());
    short.reset(TICK);
    assert!(short.as_mut().poll(&mut context).is_pending());
    sleep(TICK * 2).await;
    assert!(short.as_mut().poll(&mut context) == Poll::Ready(()));
    sleep(TICK * 3).await;
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "only the shorter time");
}
