use super::*;
use futures::FutureExt;
use proptest::prelude::*;

use matmul::Factors;

/// Polls a future that only yields, never waits, until it is done: property tests have no runtime.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Some(done) = future.as_mut().now_or_never() {
            return done;
        }
    }
}

fn chain(steps: u64) -> Task {
    Task {
        kind: TaskKind::HashChain(HashChain { steps }),
        input: b"input".to_vec(),
    }
}

/// One of each workload, quickly done.
fn tasks() -> [Task; 3] {
    let primes = Task {
        kind: TaskKind::Wasm(Wasm {
            module: wasm::tests::PRIMES.to_vec(),
            fuel: 1_000_000,
            pages: 20,
        }),
        input: wasm::tests::numbers(&[0, 1_000]),
    };
    let product = Task {
        kind: TaskKind::Matmul(Matmul {
            size: 24,
            factors: Factors::Seeded,
        }),
        input: b"seed".to_vec(),
    };
    [chain(1_000), primes, product]
}

/// Looks at everything.
fn thorough() -> Policy {
    Policy {
        segments: u16::MAX,
        executed_again: 1_000,
        vectors: 2,
    }
}

fn cbor(value: &impl Serialize) -> Vec<u8> {
    crate::signed::encode(value)
}

fn execute(task: &Task) -> Result<TaskOutput, TaskError> {
    block_on(task.execute())
}

fn verify(task: &Task, result: &TaskOutput) -> Result<(), TaskError> {
    block_on(task.verify(result, [3; 32], &thorough()))
}

#[test]
fn what_a_worker_computes_a_validator_accepts() {
    for task in tasks() {
        let result = execute(&task).unwrap();
        assert_eq!(verify(&task, &result), Ok(()), "{}", task.network());
        assert!(NETWORKS.contains(&task.network()));
        assert_eq!(execute(&task), Ok(result), "{}", task.network());
    }
}

#[test]
fn every_result_is_bound_to_its_output() {
    for task in tasks() {
        let mut result = execute(&task).unwrap();
        result.output.0[31] ^= 1;
        assert!(verify(&task, &result).is_err(), "{}", task.network());
    }
}

#[test]
fn the_result_of_another_workload_is_refused_and_earns_nothing() {
    let tasks = tasks();
    for (index, task) in tasks.iter().enumerate() {
        let other = execute(&tasks[(index + 1) % tasks.len()]).unwrap();
        assert_eq!(
            verify(task, &other),
            Err(TaskError::OtherWorkload {
                expected: task.network()
            })
        );
        assert_eq!(task.kind.capacity(&other), 0);
    }
}

#[test]
fn tasks_beyond_the_limits_are_refused_by_both_sides() {
    let good = execute(&chain(1)).unwrap();
    let mut large = chain(1);
    large.input = vec![0; INPUT_BYTES_MAX + 1];
    for refused in [chain(0), chain(u64::MAX), large] {
        let error = execute(&refused).unwrap_err();
        assert_eq!(verify(&refused, &good), Err(error));
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
    assert_eq!(
        verify(&chain(5), &empty),
        Err(TaskError::HashChain(ProofError::CheckpointCount {
            found: 0,
            expected: 5
        }))
    );
}

#[test]
fn capacity_counts_hashes_and_what_takes_as_long() {
    let [chain, primes, product] = tasks();
    let capacity = |task: &Task| task.kind.capacity(&execute(task).unwrap());
    assert_eq!(capacity(&chain), 1_000);
    let result = execute(&primes).unwrap();
    let TaskProof::Wasm(run) = &result.proof else {
        panic!("a wasm result")
    };
    assert_eq!(
        primes.kind.capacity(&result),
        run.fuel.div_ceil(Wasm::WORK_PER_CAPACITY)
    );
    assert_eq!(
        capacity(&product),
        (24u64 * 24 * 24).div_ceil(Matmul::WORK_PER_CAPACITY)
    );
}

#[test]
fn a_policy_that_verifies_nothing_is_an_error() {
    let nothing = Policy {
        segments: 0,
        executed_again: 0,
        vectors: 0,
    };
    for task in tasks() {
        let result = execute(&task).unwrap();
        let verdict = block_on(task.verify(&result, [0; 32], &nothing));
        assert!(verdict.is_err(), "{}", task.network());
    }
}

#[test]
fn the_stated_probabilities_are_those_of_the_policy() {
    let [chain, primes, product] = tasks();
    let policy = Policy::default();
    // Half of 256 segments, 16 looked at: below (1/2)^16.
    assert!(chain.miss_probability(0.5, &policy) < 1.6e-5);
    assert_eq!(chain.miss_probability(1.0, &policy), 0.0);
    let one_segment = chain.miss_probability(1.0 / 256.0, &policy);
    assert!((one_segment - (1.0 - 16.0 / 256.0)).abs() < 1e-12);
    assert_eq!(primes.miss_probability(1.0, &policy), 0.75);
    assert!(product.miss_probability(1e-9, &policy) < 2.2e-19);
}

#[test]
fn verification_costs_are_stated_in_capacity() {
    let [chain, primes, product] = tasks();
    let cost = |task: &Task| {
        let result = execute(task).unwrap();
        (
            task.verification_cost(&result, &Policy::default()),
            task.kind.capacity(&result),
        )
    };
    // 16 of 256 segments; a quarter of the runs; 3·2·24² of 24³ multiply-adds.
    let (verified, executed) = cost(&chain);
    assert_eq!((verified, executed), (62, 1_000));
    let (verified, executed) = cost(&primes);
    assert!(verified.abs_diff(executed / 4) <= 1);
    let (verified, executed) = cost(&product);
    assert_eq!((verified, executed), (18, 70));
}

#[test]
fn tasks_and_results_survive_both_encodings() {
    for task in tasks() {
        let result = execute(&task).unwrap();
        let back: (Task, TaskOutput) =
            ciborium::from_reader(cbor(&(&task, &result)).as_slice()).unwrap();
        assert_eq!(back, (task.clone(), result.clone()));

        let json = serde_json::to_string(&(&task, &result)).unwrap();
        assert_eq!(
            serde_json::from_str::<(Task, TaskOutput)>(&json).unwrap(),
            (task, result)
        );
    }
}

#[test]
fn encodings_fit_into_the_stated_room_and_nearly_fill_it() {
    let [chain, _, product] = tasks();
    for task in [chain, product] {
        let result = execute(&task).unwrap();
        let (task_bytes, result_bytes) = (cbor(&task).len(), cbor(&result).len());
        assert!(task_bytes <= task.bytes_max());
        assert!(result_bytes <= task.result_bytes_max());
        assert!(result_bytes + 200 > task.result_bytes_max());
    }
    let full = Task {
        kind: TaskKind::Wasm(Wasm {
            module: vec![0; wasm::MODULE_BYTES_MAX],
            fuel: u64::MAX,
            pages: u32::MAX,
        }),
        input: vec![0; INPUT_BYTES_MAX],
    };
    assert!(cbor(&full).len() <= full.bytes_max());
    let result = TaskOutput {
        output: B256::repeat_byte(255),
        proof: TaskProof::Wasm(WasmRun {
            fuel: u64::MAX,
            outcome: Outcome::Returned(vec![0; wasm::OUTPUT_BYTES_MAX]),
        }),
    };
    assert!(cbor(&result).len() <= full.result_bytes_max());
}

/// A task and a result that decode, with one byte changed, inserted or taken away.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (0usize..3, any::<prop::sample::Index>(), any::<u8>(), 0u8..3).prop_map(
        |(which, place, byte, how)| {
            let task = &tasks()[which];
            let mut bytes = cbor(&(task, execute(task).unwrap()));
            let place = place.index(bytes.len());
            match how {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => bytes.truncate(place),
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ciborium::from_reader::<Task, _>(bytes.as_slice());
        let _ = ciborium::from_reader::<TaskOutput, _>(bytes.as_slice());
        let _ = ciborium::from_reader::<Policy, _>(bytes.as_slice());
        let _ = serde_json::from_slice::<(Task, TaskOutput)>(&bytes);
    }

    #[test]
    fn what_decodes_from_damaged_bytes_is_judged_without_panic(cbor in damaged()) {
        if let Ok((task, result)) = ciborium::from_reader::<(Task, TaskOutput), _>(cbor.as_slice()) {
            // A damaged length of a chain may ask for minutes of work.
            prop_assume!(!matches!(task.kind, TaskKind::HashChain(HashChain { steps }) if steps > 100_000));
            prop_assume!(!matches!(&task.kind, TaskKind::Wasm(wasm) if wasm.fuel > 100_000_000));
            let verdict = verify(&task, &result);
            // Most changes make it false; of those that do not, the result is the true one.
            if verdict.is_ok() {
                prop_assert_eq!(execute(&task), Ok(result));
            }
        }
    }
}
