//! What a workload is: the plug-in that a network's workers execute and its validators verify.
//!
//! # Units of capacity
//! Each workload counts work in a unit of its own: hashes, fuel, multiply-adds. A receipt counts **units of capacity**, so
//! that the work of all networks adds up in one leaf for each account: one unit is one hash of a
//! [`hash_chain`](super::hash_chain), and [`Workload::WORK_PER_CAPACITY`] says how much of another workload's work takes
//! about as long. The figures are rounded from a measurement on one core of a server: 8.5 million hashes, 370 million
//! units of fuel and 1,560 million multiply-adds a second. They are part of the protocol: a machine that is better at
//! one workload than that core earns more by serving that one. `cargo bench -p smartnodes-node --bench work` measures
//! another machine.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

use super::{TaskError, TaskProof};

/// How thoroughly a network's validators verify results. One part for each workload; a network needs only its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Segments of a hash chain that one verification recomputes.
    pub segments: u16,
    /// Share of wasm results that one verification executes again, in thousandths; from 1,000 all of them.
    pub executed_again: u16,
    /// Random vectors that one verification of a matrix product uses.
    pub vectors: u8,
}

impl Policy {
    /// Leaves nothing to chance: what is false does not pass. It judges disputes.
    pub const THOROUGH: Self = Self {
        segments: u16::MAX,
        executed_again: 1_000,
        vectors: 2,
    };
}

impl Default for Policy {
    /// Sixteen segments, a quarter of the wasm results, two vectors.
    fn default() -> Self {
        Self {
            segments: 16,
            executed_again: 250,
            vectors: 2,
        }
    }
}

/// A kind of work, as its parameters: what a task asks for, how it is done, and how a result is verified.
///
/// All of it is deterministic: the same parameters and input give the same output, proof and errors on every machine.
pub trait Workload {
    /// Name of the network whose workers do such work.
    const NETWORK: &'static str;
    /// Units of work that earn one unit of capacity (the module's page).
    const WORK_PER_CAPACITY: u64;
    /// What makes a result verifiable.
    type Proof: Into<TaskProof>;
    /// Why a task or a result is refused.
    type Error: Into<TaskError>;

    /// The proof, if it is one of this workload.
    fn proof(proof: &TaskProof) -> Option<&Self::Proof>;

    /// Checks the parameters against the limits.
    fn check_parameters(&self) -> Result<(), Self::Error>;

    /// Checks parameters and input against the limits.
    fn check(&self, _input: &[u8]) -> Result<(), Self::Error> {
        self.check_parameters()
    }

    /// Does the work, yielding to the runtime about once in a millisecond. The digest covers all of the result that two
    /// honest executions have in common, so that replicas can be compared by it.
    fn execute(
        &self,
        input: &[u8],
    ) -> impl Future<Output = Result<(B256, Self::Proof), Self::Error>> + Send;

    /// Accepts a result, or says what is wrong with it, yielding to the runtime as it goes. `seed` decides what is looked
    /// at: the worker must not have known it when it answered.
    fn verify(
        &self,
        input: &[u8],
        output: B256,
        proof: &Self::Proof,
        seed: [u8; 32],
        policy: &Policy,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Most bytes that a result can have, its encoding included.
    fn result_bytes_max(&self) -> usize;

    /// Most units of work that the task can take.
    fn work_max(&self) -> u64;

    /// Units of work in a result.
    fn work(&self, proof: &Self::Proof) -> u64;

    /// Units of work that one verification of this result takes on average.
    fn verification_work(&self, proof: &Self::Proof, policy: &Policy) -> u64;

    /// Probability that one verification passes a result whose worker left out the share `omitted` (above 0, at most 1) of
    /// the work. One minus this is the probability of detection; verifiers with seeds of their own multiply it.
    fn miss_probability(&self, omitted: f64, policy: &Policy) -> f64;
}
