//! Executes tasks and verifies their results: the workloads that networks are made of.
//!
//! A worker calls [`Task::execute`]; a validator calls [`Task::verify`] on what came back, with a seed that the worker
//! could not know when it answered. Each workload states how likely it is that a false result is found.

pub mod hash_chain;
#[cfg(test)]
mod tests;

use alloy::primitives::B256;
use hash_chain::{HashChainProof, ProofError};
use serde::{Deserialize, Serialize};

/// Most bytes that a task's input may have.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TaskKind {
    /// A sequential chain of SHA-256 hashes ([`hash_chain`]).
    HashChain {
        /// How many times the hash is applied after the first.
        steps: u64,
    },
}

/// The result of a task, and what makes it verifiable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskOutput {
    /// The result.
    pub output: B256,
    /// Evidence that it was computed.
    pub proof: TaskProof,
}

/// Evidence that a task was executed, by workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TaskProof {
    /// The checkpoints of a [`TaskKind::HashChain`].
    HashChain(HashChainProof),
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
    /// The result is not the one that its own proof ends with.
    #[error("the output {output} is not the end {proven} of its proof")]
    OutputMismatch {
        /// The result as given.
        output: B256,
        /// What the proof ends with.
        proven: B256,
    },
}

impl Task {
    /// Checks the limits. Whoever receives a task calls this before anything else is done with it.
    pub fn check(&self) -> Result<(), TaskError> {
        if self.input.len() > INPUT_BYTES_MAX {
            return Err(TaskError::InputTooLarge {
                bytes: self.input.len(),
            });
        }
        match self.kind {
            TaskKind::HashChain { steps } => Ok(hash_chain::check_steps(steps)?),
        }
    }

    /// Name of the network whose workload this is.
    pub fn network(&self) -> &'static str {
        match self.kind {
            TaskKind::HashChain { .. } => hash_chain::NETWORK,
        }
    }

    /// The capacity that a verified execution earns, in units of the workload: hashes for a hash chain.
    pub fn capacity(&self) -> u64 {
        match self.kind {
            TaskKind::HashChain { steps } => steps,
        }
    }

    /// Executes the task, yielding to other tasks of the runtime as it goes.
    pub async fn execute(&self) -> Result<TaskOutput, TaskError> {
        self.check()?;
        match self.kind {
            TaskKind::HashChain { steps } => {
                let proof = hash_chain::execute(&self.input, steps).await;
                let output = proof
                    .output()
                    .expect("steps were checked, so there is a checkpoint");
                Ok(TaskOutput {
                    output,
                    proof: TaskProof::HashChain(proof),
                })
            }
        }
    }

    /// Accepts `result` or says what is wrong with it. `samples` bounds the cost, `challenge_seed` decides what is
    /// looked at: it must be unpredictable for the worker until it has answered.
    pub fn verify(
        &self,
        result: &TaskOutput,
        challenge_seed: [u8; 32],
        samples: usize,
    ) -> Result<(), TaskError> {
        self.check()?;
        match (self.kind, &result.proof) {
            (TaskKind::HashChain { steps }, TaskProof::HashChain(proof)) => {
                hash_chain::check_shape(steps, proof)?;
                let proven = proof
                    .output()
                    .expect("the shape was checked, so there is a checkpoint");
                if proven != result.output {
                    return Err(TaskError::OutputMismatch {
                        output: result.output,
                        proven,
                    });
                }
                Ok(hash_chain::verify(
                    &self.input,
                    steps,
                    proof,
                    challenge_seed,
                    samples,
                )?)
            }
        }
    }
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
