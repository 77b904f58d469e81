//! WebAssembly: the user's module on the user's input.
//!
//! # What a module must be
//! It exports, and this is all that is ever called:
//! - `memory`, its only memory;
//! - `alloc(len: i32) -> i32`, which gives the address of `len` bytes for the input;
//! - `run(address: i32, len: i32) -> i64`, which is called with the input's place and returns the output's: the address
//!   in the upper 32 bits, the length in the lower.
//!
//! It imports nothing: a module sees its input and its own memory, no clock, no randomness, no files, no network. It has
//! no start function. Instructions are those of WebAssembly 2.0 without vectors, one memory of 32-bit addresses;
//! floating point is the deterministic profile of WebAssembly 3.0, in which every NaN that arithmetic gives is the
//! canonical one. `guests/` has modules in Rust.
//!
//! # Limits
//! Fuel counts instructions, and bytes that bulk instructions move; the task says how much there is. Memory, tables and
//! stacks are bounded. All of these act at the same instruction on every machine, so that whatever becomes of a module –
//! output or [`Fault`], and the fuel until then – is a result that any verifier can repeat. A worker earns the fuel that
//! was used, whatever came of it: that a module is faulty is its user's affair.
//!
//! # Verification
//! By execution: of a random share of the results ([`Policy::executed_again`]), drawn from the verifier's seed. A false
//! output, fault or fuel passes with probability `1 − share` for each verifier, and never when it is drawn. Replication
//! of a task compares the rest.

mod machine;
#[cfg(test)]
pub(in crate::work) mod tests;

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Policy, RESULT_OVERHEAD, TaskProof, Workload};

/// Name of the network that this workload serves.
pub const NETWORK: &str = "wasm";
/// Largest module in bytes.
pub const MODULE_BYTES_MAX: usize = 128 * 1024;
/// Largest output in bytes.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Most fuel that one task may use: some tens of seconds on one core.
pub const FUEL_MAX: u64 = 1 << 34;
/// Most pages (64 KiB) of memory that a task may use: 16 MiB.
pub const PAGES_MAX: u32 = 256;

/// A module to be run on the task's input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wasm {
    /// The module, in binary form.
    #[serde(with = "super::bytes")]
    pub module: Vec<u8>,
    /// Fuel that it may use, at most [`FUEL_MAX`].
    pub fuel: u64,
    /// Pages (64 KiB) of memory that it may have, at most [`PAGES_MAX`].
    pub pages: u32,
}

/// What became of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmRun {
    /// Fuel used.
    pub fuel: u64,
    /// Output or fault.
    pub outcome: Outcome,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// With this output, at most [`OUTPUT_BYTES_MAX`] bytes.
    Returned(#[serde(with = "super::bytes")] Vec<u8>),
    /// Because of the module itself.
    Faulted(Fault),
}

/// What a module did that ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Fault {
    /// More fuel than the task has.
    #[error("it used up the task's fuel; give it more")]
    OutOfFuel,
    /// An `unreachable` instruction: in most languages, a panic.
    #[error("it reached an `unreachable` instruction: it has panicked or refused its input")]
    Unreachable,
    /// A load, store or data segment beyond its memory.
    #[error("it touched what lies beyond its memory")]
    MemoryOutOfBounds,
    /// An index or element segment beyond its table.
    #[error("it touched what lies beyond its table")]
    TableOutOfBounds,
    /// An indirect call of nothing.
    #[error("it called an empty entry of its table")]
    IndirectCallToNull,
    /// An indirect call with another signature.
    #[error("it called a function of its table with another signature")]
    BadSignature,
    /// An integer division by zero.
    #[error("it divided an integer by zero")]
    DivisionByZero,
    /// An integer result that does not fit.
    #[error("the result of an integer instruction does not fit")]
    IntegerOverflow,
    /// A float that is no integer of the type asked for.
    #[error("it turned a float into an integer that cannot hold it")]
    BadConversion,
    /// Calls nested too deep.
    #[error("it nested its calls too deep")]
    StackOverflow,
    /// Tables larger than allowed.
    #[error("its tables have more entries than are allowed")]
    TooLarge,
    /// An input or output place outside its memory.
    #[error("`alloc` or `run` returned a place that is not in its memory")]
    BadPlace,
    /// Too much output.
    #[error("its output has more than {OUTPUT_BYTES_MAX} bytes")]
    OutputTooLarge,
}

impl From<WasmRun> for TaskProof {
    fn from(run: WasmRun) -> Self {
        Self::Wasm(run)
    }
}

/// A module or a result is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WasmError {
    /// The module is too large.
    #[error(
        "module has {bytes} bytes, at most {MODULE_BYTES_MAX} are allowed; strip it, and build it for size"
    )]
    ModuleBytes {
        /// Its size.
        bytes: usize,
    },
    /// The fuel is out of bounds.
    #[error("fuel is {fuel}, it must be from 1 to {FUEL_MAX}")]
    Fuel {
        /// The fuel given.
        fuel: u64,
    },
    /// The memory is out of bounds.
    #[error("pages is {pages}, it must be from 1 to {PAGES_MAX}")]
    Pages {
        /// The pages given.
        pages: u32,
    },
    /// Not a module, or one that uses what is not allowed.
    #[error("module: {reason}")]
    Module {
        /// The interpreter's words.
        reason: String,
    },
    /// It imports something.
    #[error(
        "module: it imports {module:?}.{name:?}, but modules may import nothing; build it for wasm32-unknown-unknown without host functions"
    )]
    Import {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
    },
    /// An export is missing or of another type.
    #[error("module: it must export {expected}")]
    Export {
        /// What is missing.
        expected: &'static str,
    },
    /// It begins with more memory than the task gives it.
    #[error(
        "module: it begins with {pages} pages of memory, the task allows {allowed}; raise pages"
    )]
    InitialMemory {
        /// Pages that it begins with.
        pages: u64,
        /// Pages that the task allows.
        allowed: u32,
    },
    /// This machine has not the memory that every worker must have.
    #[error("this machine cannot give the module its memory; free some, or offer less capacity")]
    HostMemory,
    /// The result has more output or fuel than a task can.
    #[error("the result has more output than {OUTPUT_BYTES_MAX} bytes, or more fuel than the task")]
    ResultBounds,
    /// The digest is not that of the result.
    #[error("the output {output} is not the digest of the result")]
    Digest {
        /// As it was given.
        output: B256,
    },
    /// Nothing would be verified.
    #[error("the policy executes no result again, it must be at least 1 in 1,000")]
    NoExecutions,
    /// Executed again, it ended otherwise.
    #[error("executed again, the module ended otherwise, or with other output")]
    FalseOutcome,
    /// Executed again, it used another amount of fuel.
    #[error("the result claims {claimed} fuel, executed again it used {used}")]
    FalseFuel {
        /// As the worker says.
        claimed: u64,
        /// As it is.
        used: u64,
    },
}

impl Workload for Wasm {
    const NETWORK: &'static str = NETWORK;
    const WORK_PER_CAPACITY: u64 = 40;
    type Proof = WasmRun;
    type Error = WasmError;

    fn proof(proof: &TaskProof) -> Option<&WasmRun> {
        match proof {
            TaskProof::Wasm(run) => Some(run),
            _ => None,
        }
    }

    fn check_parameters(&self) -> Result<(), WasmError> {
        machine::load(self).map(|_| ())
    }

    async fn execute(&self, input: &[u8]) -> Result<(B256, WasmRun), WasmError> {
        let run = machine::run(self, input, machine::FUEL_PER_TURN).await?;
        Ok((digest(&run), run))
    }

    async fn verify(
        &self,
        input: &[u8],
        output: B256,
        run: &WasmRun,
        seed: [u8; 32],
        policy: &Policy,
    ) -> Result<(), WasmError> {
        check_limits(self)?;
        let fits = match &run.outcome {
            Outcome::Returned(bytes) => bytes.len() <= OUTPUT_BYTES_MAX,
            Outcome::Faulted(_) => true,
        };
        if !fits || run.fuel > self.fuel {
            return Err(WasmError::ResultBounds);
        }
        if digest(run) != output {
            return Err(WasmError::Digest { output });
        }
        if policy.executed_again == 0 {
            return Err(WasmError::NoExecutions);
        }
        if !is_drawn(seed, output, policy) {
            return Ok(());
        }
        let again = machine::run(self, input, machine::FUEL_PER_TURN).await?;
        if again.outcome != run.outcome {
            return Err(WasmError::FalseOutcome);
        }
        if again.fuel != run.fuel {
            return Err(WasmError::FalseFuel {
                claimed: run.fuel,
                used: again.fuel,
            });
        }
        Ok(())
    }

    fn result_bytes_max(&self) -> usize {
        RESULT_OVERHEAD + OUTPUT_BYTES_MAX
    }

    fn work_max(&self) -> u64 {
        self.fuel
    }

    /// The fuel used, as far as the result can be believed.
    fn work(&self, run: &WasmRun) -> u64 {
        run.fuel
    }

    fn verification_work(&self, run: &WasmRun, policy: &Policy) -> u64 {
        let share = u128::from(policy.executed_again.min(1_000));
        u64::try_from(u128::from(run.fuel) * share / 1_000).unwrap_or(u64::MAX)
    }

    /// What is executed again is compared whole: only not being drawn helps a false result.
    fn miss_probability(&self, _omitted: f64, policy: &Policy) -> f64 {
        1.0 - f64::from(policy.executed_again.min(1_000)) / 1_000.0
    }
}

/// Checks what needs no look into the module.
fn check_limits(wasm: &Wasm) -> Result<(), WasmError> {
    if wasm.module.len() > MODULE_BYTES_MAX {
        return Err(WasmError::ModuleBytes {
            bytes: wasm.module.len(),
        });
    }
    if wasm.fuel == 0 || wasm.fuel > FUEL_MAX {
        return Err(WasmError::Fuel { fuel: wasm.fuel });
    }
    if wasm.pages == 0 || wasm.pages > PAGES_MAX {
        return Err(WasmError::Pages { pages: wasm.pages });
    }
    Ok(())
}

/// Whether the verifier with this seed executes this result again. The result is mixed in, so that one seed draws
/// independently among several results.
fn is_drawn(seed: [u8; 32], output: B256, policy: &Policy) -> bool {
    let drawn = Sha256::new()
        .chain_update(b"smartnodes/1/execute-again")
        .chain_update(seed)
        .chain_update(output)
        .finalize();
    let mut word = [0; 8];
    word.copy_from_slice(&drawn[..8]);
    // The bias of the modulo is below 2⁻⁵⁴.
    u64::from_be_bytes(word) % 1_000 < u64::from(policy.executed_again)
}

/// Covers everything that two honest runs have in common, which is everything.
fn digest(run: &WasmRun) -> B256 {
    let hasher = Sha256::new()
        .chain_update(b"smartnodes/1/wasm")
        .chain_update(run.fuel.to_be_bytes());
    let hasher = match &run.outcome {
        Outcome::Returned(bytes) => hasher.chain_update([0]).chain_update(bytes),
        Outcome::Faulted(fault) => hasher.chain_update([1, *fault as u8]),
    };
    B256::new(hasher.finalize().into())
}
