//! What users have got, beside what an honest worker would have given them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use smartnodes_node::jobs::JobRequest;
use smartnodes_node::work::{Task, TaskOutput};

/// The results that users have accepted. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Results(Arc<Mutex<Vec<Accepted>>>);

/// A job, and the result of each of its tasks.
type Accepted = (JobRequest, Vec<TaskOutput>);

impl Results {
    /// A user has accepted these results. Those of jobs with one worker for each task are not kept: that worker's word is
    /// looked at by samples, which a false one passes now and then.
    pub fn accepted(&self, request: JobRequest, outputs: Vec<TaskOutput>) {
        if request.replication > 1 {
            self.lock().push((request, outputs));
        }
    }

    /// For each, what is not true of it, in words: every task is executed once more.
    pub fn judged(&self) -> Vec<Option<String>> {
        let accepted = self.lock();
        let mut found = Vec::new();
        for (request, outputs) in accepted.iter() {
            let mut before = None;
            for index in 0..request.tasks.len() {
                let truth = request.task(index, before).and_then(|task| execute(&task));
                before = outputs.get(index);
                let is_false = before != truth.as_ref();
                found.push(is_false.then(|| {
                    let (user, job) = (request.user, request.nonce + 1);
                    let task = index + 1;
                    format!("task {task} of job {job} of {user} has a false result")
                }));
            }
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Accepted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Executes a task without letting anybody else run, so that nothing happens in the meantime.
fn execute(task: &Task) -> Option<TaskOutput> {
    let mut executing = std::pin::pin!(task.execute());
    loop {
        if let Some(executed) = executing.as_mut().now_or_never() {
            return executed.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};
    use smartnodes_node::jobs::Shape;
    use smartnodes_node::work::TaskKind;
    use smartnodes_node::work::hash_chain::HashChain;

    use super::*;

    #[test]
    fn a_false_result_is_found_in_whichever_stage() {
        let stage = |input: &[u8]| Task {
            kind: TaskKind::HashChain(HashChain { steps: 30_000 }),
            input: input.to_vec(),
        };
        let request = JobRequest {
            user: Address::ZERO,
            network: "hash-chain".to_owned(),
            shape: Shape::Pipeline,
            tasks: vec![stage(b"seed"), stage(b"")],
            replication: 3,
            payment: 0,
            nonce: 0,
        };
        let first = execute(&stage(b"seed")).expect("it is within the limits");
        let second = execute(&stage(first.output.as_slice())).expect("it is within the limits");
        let other = TaskOutput {
            output: B256::ZERO,
            ..second.clone()
        };
        let found = |outputs: &[&TaskOutput]| {
            let results = Results::default();
            results.accepted(
                request.clone(),
                outputs.iter().map(|output| (*output).clone()).collect(),
            );
            let judged = results.judged();
            assert_eq!(judged.len(), 2, "every task is judged");
            judged.into_iter().flatten().collect::<Vec<_>>()
        };
        assert_eq!(found(&[&first, &second]), [""; 0]);
        assert_eq!(
            found(&[&first, &other]),
            [format!(
                "task 2 of job 1 of {} has a false result",
                Address::ZERO
            )]
        );
        assert_eq!(found(&[&first]).len(), 1, "one is missing");
        // The second stage does not follow from the first.
        assert_eq!(found(&[&second, &second]).len(), 2);
    }
}
