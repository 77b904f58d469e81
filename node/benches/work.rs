//! What the workloads cost: work of each kind for each second, and verification beside execution.
//!
//! `cargo bench -p smartnodes-node --bench work`. The throughput is in units of the workload: hashes, fuel, multiply-adds.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::FutureExt;
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

criterion_group!(benches, workloads);
criterion_main!(benches);
