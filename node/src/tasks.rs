//! A set of tasks that ends with its owner: tokio's `JoinSet`, which the simulator's runtime lacks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::task::{JoinError, JoinHandle};

/// Spawned tasks. Dropping the set aborts those that still run.
pub struct JoinSet<T>(FuturesUnordered<Owned<T>>);

/// A task that is aborted when its handle goes.
struct Owned<T>(JoinHandle<T>);

impl<T> Future for Owned<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send + 'static> JoinSet<T> {
    /// An empty set.
    pub fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    /// Starts a task.
    pub fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        self.0.push(Owned(tokio::spawn(task)));
    }

    /// Waits for the next task to end; `None` if there is none. May be dropped and called again.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.0.next().await
    }

    /// A task that has ended, if there is one.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.0.next().now_or_never().flatten()
    }
}

impl<T: Send + 'static> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn tasks_end_one_by_one() {
        let mut set = JoinSet::new();
        assert!(set.join_next().await.is_none());
        for n in [30u64, 10] {
            set.spawn(async move {
                tokio::time::sleep(Duration::from_millis(n)).await;
                n
            });
        }
        assert!(set.try_join_next().is_none());
        assert_eq!(set.join_next().await.map(|r| r.ok()), Some(Some(10)));
        assert_eq!(set.join_next().await.map(|r| r.ok()), Some(Some(30)));
        assert!(set.join_next().await.is_none());
    }

    #[tokio::test]
    async fn tasks_end_with_their_set() {
        let held = Arc::new(());
        let mut set = JoinSet::new();
        let kept = held.clone();
        set.spawn(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(set);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
