//! What the workloads cost: work of each kind for each second, and verification beside execution.
//!
//! `cargo bench -p smartnodes-node --bench work`. The throughput is in units of the workload: hashes, fuel, multiply-adds.
//! Then a product of two 512 × 512 matrices is executed, and verified all that a validator verifies of it, in turns, and the
//! ratio of the best times is printed: less than 5 %.

use std::hint::black_box;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use criterion::{Criterion, Throughput, criterion_group};
use futures::FutureExt;
use smartnodes_node::jobs::receipt::{Answer, WorkKind, WorkOrder};
use smartnodes_node::jobs::verify::verify_answer;
use smartnodes_node::signed::{Domain, Signed, decode, encode};
use smartnodes_node::work::hash_chain::HashChain;
use smartnodes_node::work::matmul::{Factors, Matmul};
use smartnodes_node::work::wasm::Wasm;
use smartnodes_node::work::{Policy, Task, TaskKind, TaskProof};

/// Polls a future that only yields until it is done: a runtime would be measured with it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Some(done) = future.as_mut().now_or_never() {
            return done;
        }
    }
}

/// How often each side of the printed ratio runs.
const TURNS: usize = 40;

fn workloads(criterion: &mut Criterion) {
    let range: Vec<u8> = [0u64, 60_000]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let primes = Wasm {
        module: include_bytes!("../guests/primes.wasm").to_vec(),
        fuel: 1 << 30,
        pages: 32,
    };
    let product = Matmul {
        size: 512,
        factors: Factors::Seeded,
    };
    let tasks = [
        (
            TaskKind::HashChain(HashChain { steps: 200_000 }),
            Vec::new(),
        ),
        (TaskKind::Wasm(primes), range),
        (TaskKind::Matmul(product), Vec::new()),
    ];
    for (kind, input) in tasks {
        let task = Task { kind, input };
        let result = block_on(task.execute()).expect("the task is within the limits");
        let work = match (&task.kind, &result.proof) {
            (TaskKind::HashChain(chain), _) => chain.steps,
            (_, TaskProof::Wasm(run)) => run.fuel,
            _ => 512 * 512 * 512,
        };
        let mut group = criterion.benchmark_group(task.network());
        group.sample_size(10).throughput(Throughput::Elements(work));
        group.bench_function("execute", |bencher| {
            bencher.iter(|| block_on(task.execute()));
        });
        let policy = Policy::default();
        let mut seed = [0u8; 32];
        group.bench_function("verify", |bencher| {
            bencher.iter(|| {
                // Another seed each time: a quarter of the wasm results is executed again.
                for byte in &mut seed {
                    *byte = byte.wrapping_add(1);
                }
                block_on(task.verify(&result, seed, &policy))
            });
        });
        group.finish();
    }
}

/// A product as a worker makes it, and everything that a validator does with the answer before it believes it: that it
/// answers the order, the worker's signature, the digests of a MiB, and the check itself.
fn verification_beside_the_work() {
    let wallet = |byte| PrivateKeySigner::from_bytes(&B256::repeat_byte(byte)).expect("a scalar");
    let (validator, worker) = (wallet(1), wallet(2));
    let domain = Domain {
        chain_id: 31_337,
        core: Address::repeat_byte(7),
        coordinator: Address::repeat_byte(8),
    };
    let order = WorkOrder {
        validator: validator.address(),
        worker: worker.address(),
        kind: WorkKind::Job {
            job: B256::ZERO,
            task: 0,
            user: Address::ZERO,
        },
        task: Task {
            kind: TaskKind::Matmul(Matmul {
                size: 512,
                factors: Factors::Seeded,
            }),
            input: b"seed".to_vec(),
        },
    };
    let execute = || block_on(order.task.execute()).expect("the task is within the limits");
    let output = execute();
    let result = Signed::sign(order.result(&output), &domain, &worker);
    // As it arrives: nothing of it is known yet.
    let received = encode(&Answer { result, output });
    let policy = Policy::default();

    let mut best = [Duration::MAX; 4];
    for turn in 0..TURNS {
        let seed = [turn as u8; 32];
        let answer: Answer = decode(&received).expect("it was encoded");
        let mut times = [Duration::ZERO; 4];
        let mut timed = |which: usize, run: &dyn Fn()| {
            let begun = Instant::now();
            run();
            times[which] = begun.elapsed();
        };
        timed(0, &|| drop(black_box(execute())));
        timed(1, &|| {
            assert_eq!(answer.result.body, order.result(&answer.output));
        });
        timed(2, &|| {
            block_on(verify_answer(&answer, &order.task, &domain, seed, &policy))
                .expect("it is right");
        });
        timed(3, &|| {
            block_on(order.task.verify(&answer.output, seed, &policy)).expect("it is right");
        });
        for (best, time) in best.iter_mut().zip(times) {
            *best = time.min(*best);
        }
    }
    let [work, matched, believed, checked] = best.map(|time| time.as_secs_f64() * 1e3);
    let verified = matched + believed;
    println!(
        "matmul 512: executed in {work:.2} ms, verified in {verified:.2} ms: {:.2} % of the work\n  \
         {checked:.2} ms of that for the product, {matched:.2} ms for whether it answers the order, its digest among them",
        100.0 * verified / work,
    );
}

criterion_group!(benches, workloads);

fn main() {
    verification_beside_the_work();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
