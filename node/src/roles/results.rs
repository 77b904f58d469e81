//! What a worker has done, kept until its user has fetched it or it is too old.

use alloy::primitives::{Address, B256};

use crate::jobs::receipt::Answer;
use crate::store::{Store, StoreError, Table};
use crate::work::TaskOutput;

/// Results are kept for this long for whoever asks for them (seconds of chain time).
const LIFETIME_SECONDS: u64 = 3 * 24 * 3_600;
/// And for this long once their user has fetched them: what was sent may have been lost.
const FETCHED_LIFETIME_SECONDS: u64 = 600;
/// Most results that are kept; the oldest give way.
const RESULTS_MAX: usize = 65_536;

/// Where results are kept in [`Table::Jobs`], by order.
const RESULT: &[u8] = b"result/";
/// For whom a task of a job was done, which order it came with, and the time in its age.
const DELIVERY: &[u8] = b"delivery/";
/// Which results are the oldest: by chain time and order, the task that it was.
const AGE: &[u8] = b"result-age/";

/// A worker's results.
pub(super) struct Results {
    store: Store,
}

fn result_key(order: B256) -> Vec<u8> {
    [RESULT, order.as_slice()].concat()
}

fn delivery_key(job: B256, task: u16) -> Vec<u8> {
    [DELIVERY, job.as_slice(), &task.to_be_bytes()].concat()
}

fn age_key(since: u64, order: B256) -> Vec<u8> {
    [AGE, &since.to_be_bytes(), order.as_slice()].concat()
}

/// Time and order of an age's key.
fn parse_age_key(key: &[u8]) -> Option<(u64, B256)> {
    let (since, order) = key.strip_prefix(AGE)?.split_at_checked(8)?;
    Some((
        u64::from_be_bytes(since.try_into().ok()?),
        B256::try_from(order).ok()?,
    ))
}

impl Results {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Keeps the answer to an order. `of_job` names job, task and user if it was not a challenge; `now` is chain time in
    /// seconds.
    pub(super) fn keep(
        &self,
        order: B256,
        answer: &Answer,
        of_job: Option<(B256, u16, Address)>,
        now: u64,
    ) -> Result<(), StoreError> {
        self.store.write(|batch| {
            batch.put(Table::Jobs, &result_key(order), answer)?;
            if let Some((job, task, user)) = of_job {
                batch.put(Table::Jobs, &delivery_key(job, task), &(user, order, now))?;
            }
            let task = of_job.map(|(job, task, _)| (job, task));
            batch.put(Table::Jobs, &age_key(now, order), &task)
        })
    }

    /// The answer to an order.
    pub(super) fn get(&self, order: B256) -> Result<Option<Answer>, StoreError> {
        self.store.get(Table::Jobs, &result_key(order))
    }

    /// The result of a task for the user whose job it is, which is not kept for long from now on.
    pub(super) fn deliver(
        &self,
        user: Address,
        job: B256,
        task: u16,
        now: u64,
    ) -> Result<Option<TaskOutput>, StoreError> {
        let key = delivery_key(job, task);
        let delivery = self.store.get::<(Address, B256, u64)>(Table::Jobs, &key)?;
        let Some((owner, order, since)) = delivery else {
            return Ok(None);
        };
        if owner != user {
            return Ok(None);
        }
        let Some(answer) = self.get(order)? else {
            return Ok(None);
        };
        // Made as old as one that is dropped soon. Asked again, it does not get younger.
        let aged = now.saturating_sub(LIFETIME_SECONDS - FETCHED_LIFETIME_SECONDS);
        if aged < since {
            self.store.write(|batch| {
                batch.delete(Table::Jobs, &age_key(since, order))?;
                batch.put(Table::Jobs, &age_key(aged, order), &Some((job, task)))?;
                batch.put(Table::Jobs, &key, &(user, order, aged))
            })?;
        }
        Ok(Some(answer.output))
    }

    /// Drops what is too old, and the oldest of what is too much.
    pub(super) fn drop_old(&self, now: u64) -> Result<(), StoreError> {
        let ages = self
            .store
            .scan_prefix::<Option<(B256, u16)>>(Table::Jobs, AGE)?;
        let too_many = ages.len().saturating_sub(RESULTS_MAX);
        let old: Vec<_> = ages
            .iter()
            .filter_map(|(key, of_job)| Some((key, parse_age_key(key)?, of_job)))
            .enumerate()
            .take_while(|(n, (_, (since, _), _))| {
                *n < too_many || since.saturating_add(LIFETIME_SECONDS) < now
            })
            .map(|(_, row)| row)
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        self.store.write(|batch| {
            for (key, (_, order), of_job) in old {
                batch.delete(Table::Jobs, &result_key(order))?;
                if let Some((job, task)) = of_job {
                    batch.delete(Table::Jobs, &delivery_key(*job, *task))?;
                }
                batch.delete(Table::Jobs, key)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;
    use crate::jobs::receipt::WorkKind;
    use crate::testing::{answer, job_request, wallet};

    const NOW: u64 = 10_000_000;

    fn rows(results: &Results) -> usize {
        let rows = results.store.scan::<IgnoredAny>(Table::Jobs);
        rows.expect("reads").len()
    }

    /// A worker with the results of two jobs of one user, and that of a challenge.
    async fn with_results() -> (Results, [B256; 2], Answer) {
        let results = Results::new(Store::in_memory().expect("opens"));
        let user = wallet(9);
        let task = job_request(&user, 1, 0, 1).body.tasks[0].clone();
        let kind = WorkKind::Job {
            job: B256::ZERO,
            task: 0,
            user: user.address(),
        };
        let answer = answer(wallet(1).address(), &wallet(11), kind, task).await;
        let jobs = [1, 2].map(B256::repeat_byte);
        for (n, job) in jobs.into_iter().enumerate() {
            let order = B256::repeat_byte(100 + n as u8);
            results
                .keep(order, &answer, Some((job, 0, user.address())), NOW)
                .expect("stored");
        }
        let challenge = B256::repeat_byte(200);
        results.keep(challenge, &answer, None, NOW).expect("stored");
        (results, jobs, answer)
    }

    #[tokio::test]
    async fn a_result_is_kept_until_it_is_fetched_or_too_old() {
        let (results, [fetched, waiting], answer) = with_results().await;
        assert_eq!(rows(&results), 8);
        let user = wallet(9).address();
        let get = |job, at| results.deliver(user, job, 0, at).expect("reads");
        assert_eq!(get(fetched, NOW + 10), Some(answer.output.clone()));
        // Again, as by a user whose connection was cut: no longer than ten minutes after the first time.
        results.drop_old(NOW + 600).expect("stored");
        assert_eq!(get(fetched, NOW + 600), Some(answer.output.clone()));
        results.drop_old(NOW + 611).expect("stored");
        assert_eq!(get(fetched, NOW + 611), None);
        assert_eq!(rows(&results), 5);
        results.drop_old(NOW + LIFETIME_SECONDS).expect("stored");
        assert_eq!(rows(&results), 5);
        results
            .drop_old(NOW + LIFETIME_SECONDS + 1)
            .expect("stored");
        assert_eq!(get(waiting, NOW + LIFETIME_SECONDS + 1), None);
        assert_eq!(rows(&results), 0);
    }

    #[tokio::test]
    async fn a_result_is_its_users_only() {
        let (results, [job, _], _) = with_results().await;
        let stranger = wallet(8).address();
        assert_eq!(results.deliver(stranger, job, 0, NOW).expect("reads"), None);
        let user = wallet(9).address();
        assert_eq!(results.deliver(user, job, 1, NOW).expect("reads"), None);
        results.drop_old(NOW + 700).expect("stored");
        assert_eq!(rows(&results), 8, "nothing was fetched");
    }
}
