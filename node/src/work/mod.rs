//! Executes tasks and verifies their results: the workloads that networks are made of.
//!
//! A worker calls [`Task::execute`]; a validator calls [`Task::verify`] on what came back, with a seed that the worker
//! could not know when it answered. Each workload states how likely it is that a false result is found
//! ([`Workload::miss_probability`]).
//!
//! A further workload is a type that implements [`Workload`], a variant of [`TaskKind`] and one of [`TaskProof`].

pub mod hash_chain;
pub mod matmul;
mod network;
#[cfg(test)]
mod tests;
pub mod wasm;
mod workload;

use alloy::primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

use crate::signed::encode;
use hash_chain::{HashChain, HashChainProof, ProofError};
use matmul::{Matmul, MatmulError, Product};
pub use network::{NetworkName, NetworkNameError};
use wasm::{Outcome, Wasm, WasmError, WasmRun};
pub use workload::{Policy, Workload};

/// Most bytes that a task's input may have.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Room for parameters and names of the fields in an encoded task.
const TASK_OVERHEAD: usize = 100;

/// Room for the digest and the names of the fields in an encoded result.
const RESULT_OVERHEAD: usize = 200;

/// Names of the networks whose workloads are built in.
pub const NETWORKS: [&str; 3] = [hash_chain::NETWORK, wasm::NETWORK, matmul::NETWORK];

/// Work that a user asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The workload and its parameters.
    pub kind: TaskKind,
    /// What it works on.
    #[serde(with = "bytes")]
    pub input: Vec<u8>,
}

/// The workloads, each with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// A sequential chain of SHA-256 hashes.
    HashChain(HashChain),
    /// A WebAssembly module.
    Wasm(Wasm),
    /// A product of two matrices.
    Matmul(Matmul),
}

/// The result of a task, and what makes it verifiable. Honest executions of a task give equal ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskOutput {
    /// The end of a hash chain; of other workloads, a digest of the result. Results with equal outputs are equal.
    pub output: B256,
    /// Evidence that it was computed, with the result itself where that is more than a hash.
    pub proof: TaskProof,
}

/// Evidence that a task was executed, by workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskProof {
    /// The checkpoints of a [`TaskKind::HashChain`].
    HashChain(HashChainProof),
    /// What became of the module of a [`TaskKind::Wasm`].
    Wasm(WasmRun),
    /// The product of a [`TaskKind::Matmul`].
    Matmul(Product),
}

impl TaskOutput {
    /// What a worker signs for: covers output and proof.
    pub fn digest(&self) -> B256 {
        let proof = match &self.proof {
            TaskProof::Matmul(product) => product.digest(),
            proof => keccak256(encode(proof)),
        };
        keccak256([self.output, proof].concat())
    }

    /// Most bytes that the encoded result has.
    pub fn bytes_max(&self) -> usize {
        let proof = match &self.proof {
            TaskProof::HashChain(proof) => hash_chain::CHECKPOINT_BYTES * proof.checkpoints.len(),
            TaskProof::Wasm(_) | TaskProof::Matmul(_) => self.bytes().map_or(0, <[u8]>::len),
        };
        RESULT_OVERHEAD + proof
    }

    /// The result as bytes: the hash at the end of a chain, a module's output, a product's entries. `None` if the module
    /// had a fault.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.proof {
            TaskProof::HashChain(_) => Some(self.output.as_slice()),
            TaskProof::Wasm(WasmRun {
                outcome: Outcome::Returned(bytes),
                ..
            }) => Some(bytes),
            TaskProof::Wasm(_) => None,
            TaskProof::Matmul(product) => Some(product.entries()),
        }
    }
}

/// A task cannot be executed, or its result is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The input is larger than any task's may be.
    #[error("task.input has {bytes} bytes, at most {INPUT_BYTES_MAX} are allowed; send less")]
    InputTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The parameters or the proof are refused by the workload.
    #[error("task.hash_chain: {0}")]
    HashChain(#[from] ProofError),
    /// The module or the result is refused by the workload.
    #[error("task.wasm: {0}")]
    Wasm(#[from] WasmError),
    /// The factors or the product are refused by the workload.
    #[error("task.matmul: {0}")]
    Matmul(#[from] MatmulError),
    /// The result is that of another workload.
    #[error("the proof is not one for the workload {expected:?}")]
    OtherWorkload {
        /// The task's workload.
        expected: &'static str,
    },
}

/// Does the same for whichever workload a task has: what follows `=>` is compiled once for each type.
macro_rules! with_workload {
    ($kind:expr, $workload:ident => $do:expr) => {
        match &$kind {
            TaskKind::HashChain($workload) => $do,
            TaskKind::Wasm($workload) => $do,
            TaskKind::Matmul($workload) => $do,
        }
    };
}

impl TaskKind {
    /// Name of the network whose workload this is.
    pub fn network(&self) -> &'static str {
        with_workload!(*self, workload => network_of(workload))
    }

    /// Units of capacity that a verified result earns; the workload says how much work is one. 0 for the result of another
    /// workload.
    pub fn capacity(&self, result: &TaskOutput) -> u64 {
        with_workload!(*self, workload => match proof_for(workload, result) {
            Some(proof) => workload.work(proof).div_ceil(work_per_capacity(workload)),
            None => 0,
        })
    }
}

impl Task {
    /// Names the task in orders and results: covers workload, parameters and input.
    pub fn digest(&self) -> B256 {
        keccak256(encode(self))
    }

    /// Checks the limits. Whoever receives a task calls this before anything else is done with it.
    pub fn check(&self) -> Result<(), TaskError> {
        if self.input.len() > INPUT_BYTES_MAX {
            return Err(TaskError::InputTooLarge {
                bytes: self.input.len(),
            });
        }
        with_workload!(self.kind, workload => Ok(workload.check(&self.input)?))
    }

    /// Checks the limits of a task whose input is not known yet: a later stage of a pipeline.
    pub fn check_parameters(&self) -> Result<(), TaskError> {
        with_workload!(self.kind, workload => Ok(workload.check_parameters()?))
    }

    /// Name of the network whose workload this is.
    pub fn network(&self) -> &'static str {
        self.kind.network()
    }

    /// Most bytes that the encoded task has.
    pub fn bytes_max(&self) -> usize {
        let module = match &self.kind {
            TaskKind::Wasm(wasm) => wasm.module.len(),
            TaskKind::HashChain(_) | TaskKind::Matmul(_) => 0,
        };
        TASK_OVERHEAD + self.input.len() + module
    }

    /// Most bytes that the encoded result can have.
    pub fn result_bytes_max(&self) -> usize {
        with_workload!(self.kind, workload => workload.result_bytes_max())
    }

    /// Executes the task, yielding to other tasks of the runtime as it goes.
    pub async fn execute(&self) -> Result<TaskOutput, TaskError> {
        self.check()?;
        with_workload!(self.kind, workload => {
            let (output, proof) = workload.execute(&self.input).await?;
            Ok(TaskOutput { output, proof: proof.into() })
        })
    }

    /// Accepts `result` or says what is wrong with it. `policy` bounds the cost, `challenge_seed` decides what is looked
    /// at: it must be unpredictable for the worker until it has answered.
    pub async fn verify(
        &self,
        result: &TaskOutput,
        challenge_seed: [u8; 32],
        policy: &Policy,
    ) -> Result<(), TaskError> {
        self.check()?;
        with_workload!(self.kind, workload => {
            let proof = proof_for(workload, result).ok_or(TaskError::OtherWorkload {
                expected: self.network(),
            })?;
            Ok(workload
                .verify(&self.input, result.output, proof, challenge_seed, policy)
                .await?)
        })
    }

    /// Most units of capacity that the task can earn.
    pub fn capacity_max(&self) -> u64 {
        with_workload!(self.kind, workload => {
            workload.work_max().div_ceil(work_per_capacity(workload))
        })
    }

    /// What one verification of this result costs on average, in units of capacity.
    pub fn verification_cost(&self, result: &TaskOutput, policy: &Policy) -> u64 {
        with_workload!(self.kind, workload => match proof_for(workload, result) {
            Some(proof) => workload
                .verification_work(proof, policy)
                .div_ceil(work_per_capacity(workload)),
            None => 0,
        })
    }

    /// Probability that one verification passes a result whose worker left out the share `omitted` (above 0, at most 1)
    /// of the work.
    pub fn miss_probability(&self, omitted: f64, policy: &Policy) -> f64 {
        with_workload!(self.kind, workload => workload.miss_probability(omitted, policy))
    }
}

fn network_of<W: Workload>(_workload: &W) -> &'static str {
    W::NETWORK
}

fn work_per_capacity<W: Workload>(_workload: &W) -> u64 {
    W::WORK_PER_CAPACITY
}

fn proof_for<'a, W: Workload>(_workload: &W, result: &'a TaskOutput) -> Option<&'a W::Proof> {
    W::proof(&result.proof)
}

/// Byte strings rather than arrays of numbers, which would take up to twice the room in CBOR.
mod bytes {
    use serde::{Deserializer, Serializer, de};
    use std::fmt;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> de::Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            // JSON has no byte strings: there it is an array of numbers.
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}
