use super::*;
use futures::FutureExt;

fn task(steps: u64) -> Task {
    Task {
        kind: TaskKind::HashChain { steps },
        input: b"input".to_vec(),
    }
}

/// Polls a future that only yields, never waits, until it is done: property tests have no runtime.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Some(done) = future.as_mut().now_or_never() {
            return done;
        }
    }
}

fn execute(task: &Task) -> Result<TaskOutput, TaskError> {
    block_on(task.execute())
}

#[test]
fn what_a_worker_computes_a_validator_accepts() {
    let task = task(1000);
    let result = execute(&task).unwrap();
    assert_eq!(task.verify(&result, [3; 32], 8), Ok(()));
    assert_eq!(task.capacity(), 1000);
}

#[test]
fn another_output_than_the_proven_one_is_refused() {
    let task = task(1000);
    let mut result = execute(&task).unwrap();
    let proven = result.output;
    result.output.0[31] ^= 1;
    assert_eq!(
        task.verify(&result, [3; 32], 8),
        Err(TaskError::OutputMismatch {
            output: result.output,
            proven
        })
    );
}

#[test]
fn tasks_beyond_the_limits_are_refused_by_both_sides() {
    let good = execute(&task(1)).unwrap();
    let mut large = task(1);
    large.input = vec![0; INPUT_BYTES_MAX + 1];
    for refused in [task(0), task(u64::MAX), large] {
        let error = execute(&refused).unwrap_err();
        assert_eq!(refused.verify(&good, [0; 32], 1), Err(error));
    }
}

#[test]
fn a_proof_without_checkpoints_is_refused() {
    let empty = TaskOutput {
        output: B256::ZERO,
        proof: TaskProof::HashChain(HashChainProof {
            checkpoints: vec![],
        }),
    };
    let error = task(5).verify(&empty, [0; 32], 1).unwrap_err();
    assert_eq!(
        error,
        TaskError::HashChain(ProofError::CheckpointCount {
            found: 0,
            expected: 5
        })
    );
}

#[test]
fn tasks_and_results_survive_both_encodings() {
    let task = task(300);
    let result = execute(&task).unwrap();
    let mut cbor = Vec::new();
    ciborium::into_writer(&(&task, &result), &mut cbor).unwrap();
    // 256 checkpoints of 32 bytes, each with its header of two.
    assert!(cbor.len() < 256 * 34 + 300, "{} bytes", cbor.len());
    let back: (Task, TaskOutput) = ciborium::from_reader(cbor.as_slice()).unwrap();
    assert_eq!(back, (task.clone(), result.clone()));

    let json = serde_json::to_string(&(&task, &result)).unwrap();
    assert_eq!(
        serde_json::from_str::<(Task, TaskOutput)>(&json).unwrap(),
        (task, result)
    );
}
