//! The interpreter, set up so that every machine gets the same from it.

use wasmi::errors::{ErrorKind, InstantiationError, TableError};
use wasmi::{
    CompilationMode, Config, EnforcedLimits, Engine, Error, ExternType, FuncType, Linker, Memory,
    Module, Store, StoreLimits, StoreLimitsBuilder, TrapCode, TypedFunc, TypedResumableCall,
    ValType, WasmParams, WasmResults,
};

use super::{Fault, OUTPUT_BYTES_MAX, Outcome, Wasm, WasmError, WasmRun, check_limits};
use crate::failpoint::fail_point;

/// Fuel used before other tasks of the runtime get their turn: about a millisecond.
pub(super) const FUEL_PER_TURN: u64 = 400_000;
/// Bytes of a page.
const PAGE_BYTES: usize = 64 * 1024;
/// Most calls that are nested.
const DEPTH_MAX: usize = 1_000;
/// Most bytes of values on the stack.
const STACK_BYTES_MAX: usize = 1024 * 1024;
/// Most entries of each table; the interpreter allows a module 100 tables.
const TABLE_ENTRIES_MAX: usize = 4_096;

const MEMORY: &str = "memory";
const ALLOC: &str = "alloc";
const RUN: &str = "run";

/// An interpreter for one module: compiled code lives as long as its engine does.
fn engine() -> Engine {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        // Compiling at the first call would charge fuel for it, and find faults late.
        .compilation_mode(CompilationMode::Eager)
        .enforced_limits(EnforcedLimits::strict())
        .allow_start_fn(false)
        .ignore_custom_sections(true)
        .set_max_recursion_depth(DEPTH_MAX)
        .set_max_stack_height(STACK_BYTES_MAX)
        .set_max_cached_stacks(0)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_extended_const(false);
    Engine::new(&config)
}

/// Compiles a module, and checks all that can be checked without running it.
pub(super) fn load(wasm: &Wasm) -> Result<Module, WasmError> {
    check_limits(wasm)?;
    let engine = engine();
    // All of it before anything is compiled: the compiler trusts that no function goes on after its end.
    let compiled =
        Module::validate(&engine, &wasm.module).and_then(|()| Module::new(&engine, &wasm.module));
    let module = compiled.map_err(|error| WasmError::Module {
        reason: error.to_string(),
    })?;
    if let Some(import) = module.imports().next() {
        return Err(WasmError::Import {
            module: import.module().to_owned(),
            name: import.name().to_owned(),
        });
    }
    match module.get_export(MEMORY) {
        Some(ExternType::Memory(memory)) if memory.minimum() <= u64::from(wasm.pages) => {}
        Some(ExternType::Memory(memory)) => {
            return Err(WasmError::InitialMemory {
                pages: memory.minimum(),
                allowed: wasm.pages,
            });
        }
        _ => {
            return Err(WasmError::Export {
                expected: "`memory`, a memory",
            });
        }
    }
    let exports = |name, parameters: &[ValType], results: &[ValType]| {
        let expected = FuncType::new(parameters.iter().copied(), results.iter().copied());
        matches!(module.get_export(name), Some(ExternType::Func(found)) if found == expected)
    };
    if !exports(ALLOC, &[ValType::I32], &[ValType::I32]) {
        return Err(WasmError::Export {
            expected: "`alloc`, a function from an i32 to an i32",
        });
    }
    if !exports(RUN, &[ValType::I32, ValType::I32], &[ValType::I64]) {
        return Err(WasmError::Export {
            expected: "`run`, a function from two i32 to an i64",
        });
    }
    Ok(module)
}

/// Runs a module on an input, letting other tasks of the runtime run each time that `per_turn` fuel is used.
pub(super) async fn run(wasm: &Wasm, input: &[u8], per_turn: u64) -> Result<WasmRun, WasmError> {
    let module = load(wasm)?;
    let limits = StoreLimitsBuilder::new()
        .memory_size(wasm.pages as usize * PAGE_BYTES)
        .table_elements(TABLE_ENTRIES_MAX)
        .build();
    let mut machine = Machine {
        store: Store::new(module.engine(), limits),
        limit: wasm.fuel,
        given: 0,
        per_turn: per_turn.max(1),
    };
    let outcome = match machine.outcome(&module, input).await {
        Ok(output) => Outcome::Returned(output),
        Err(End::Fault(fault)) => Outcome::Faulted(fault),
        Err(End::Host(error)) => return Err(error),
    };
    let fuel = machine.used()?;
    Ok(WasmRun { fuel, outcome })
}

/// Why a run ended without output.
enum End {
    /// The module's own doing, the same everywhere.
    Fault(Fault),
    /// This machine's.
    Host(WasmError),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        if let Some(code) = error.as_trap_code() {
            return trap(code).map_or(Self::Host(WasmError::HostMemory), Self::Fault);
        }
        match error.kind() {
            ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
                Self::Fault(Fault::TableOutOfBounds)
            }
            ErrorKind::Instantiation(InstantiationError::FailedToInstantiateTable(
                TableError::ResourceLimiterDeniedAllocation,
            )) => Self::Fault(Fault::TooLarge),
            ErrorKind::Instantiation(
                InstantiationError::FailedToInstantiateTable(_)
                | InstantiationError::FailedToInstantiateMemory(_),
            ) => Self::Host(WasmError::HostMemory),
            _ => Self::Host(WasmError::Module {
                reason: error.to_string(),
            }),
        }
    }
}

/// The fault behind a trap; `None` if the machine's own memory is exhausted.
fn trap(code: TrapCode) -> Option<Fault> {
    Some(match code {
        TrapCode::UnreachableCodeReached => Fault::Unreachable,
        TrapCode::MemoryOutOfBounds => Fault::MemoryOutOfBounds,
        TrapCode::TableOutOfBounds => Fault::TableOutOfBounds,
        TrapCode::IndirectCallToNull => Fault::IndirectCallToNull,
        TrapCode::IntegerDivisionByZero => Fault::DivisionByZero,
        TrapCode::IntegerOverflow => Fault::IntegerOverflow,
        TrapCode::BadConversionToInteger => Fault::BadConversion,
        TrapCode::StackOverflow => Fault::StackOverflow,
        TrapCode::BadSignature => Fault::BadSignature,
        TrapCode::OutOfFuel => Fault::OutOfFuel,
        TrapCode::GrowthOperationLimited => Fault::TooLarge,
        TrapCode::OutOfSystemMemory => return None,
    })
}

/// One run under way.
struct Machine {
    store: Store<StoreLimits>,
    /// Fuel that the task allows.
    limit: u64,
    /// Fuel that the store has been given so far.
    given: u64,
    per_turn: u64,
}

impl Machine {
    async fn outcome(&mut self, module: &Module, input: &[u8]) -> Result<Vec<u8>, End> {
        self.store.limiter(|limits| limits);
        self.give(1)?;
        // Without imports and without a start function, this runs no instruction.
        let instance =
            Linker::new(module.engine()).instantiate_and_start(&mut self.store, module)?;
        let missing = |expected| End::Host(WasmError::Export { expected });
        let memory = instance
            .get_memory(&self.store, MEMORY)
            .ok_or(missing(MEMORY))?;
        let alloc = instance.get_typed_func(&self.store, ALLOC)?;
        let run = instance.get_typed_func(&self.store, RUN)?;

        // An input has at most 64 KiB, which fits.
        let len = i32::try_from(input.len()).map_err(|_| Fault::BadPlace)?;
        let address: i32 = self.call(alloc, len).await?;
        memory
            .write(&mut self.store, address.cast_unsigned() as usize, input)
            .map_err(|_| Fault::BadPlace)?;
        let place: i64 = self.call(run, (address, len)).await?;
        self.read(memory, place.cast_unsigned())
    }

    /// Calls a function in slices of fuel.
    async fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: TypedFunc<P, R>,
        parameters: P,
    ) -> Result<R, End> {
        let mut state = function.call_resumable(&mut self.store, parameters)?;
        loop {
            match state {
                TypedResumableCall::Finished(results) => return Ok(results),
                TypedResumableCall::OutOfFuel(call) => {
                    self.give(call.required_fuel())?;
                    fail_point!("wasm", "turn");
                    tokio::task::yield_now().await;
                    state = call.resume(&mut self.store)?;
                }
                TypedResumableCall::HostTrap(call) => {
                    return Err(End::Host(WasmError::Module {
                        reason: call.host_error().to_string(),
                    }));
                }
            }
        }
    }

    fn read(&self, memory: Memory, place: u64) -> Result<Vec<u8>, End> {
        let address = (place >> 32) as usize;
        let len = (place & u64::from(u32::MAX)) as usize;
        if len > OUTPUT_BYTES_MAX {
            return Err(Fault::OutputTooLarge.into());
        }
        let mut output = vec![0; len];
        memory
            .read(&self.store, address, &mut output)
            .map_err(|_| Fault::BadPlace)?;
        Ok(output)
    }

    /// Fills the store up to a turn's fuel, or to `required` if that is more, as far as the task's limit allows.
    ///
    /// Where the limit strikes does not depend on the size of a turn: the store holds less only if the limit leaves less.
    fn give(&mut self, required: u64) -> Result<(), End> {
        let used = self.used().map_err(End::Host)?;
        let left = self.limit - used;
        if required > left {
            return Err(Fault::OutOfFuel.into());
        }
        let fuel = required.max(self.per_turn).min(left);
        self.store.set_fuel(fuel)?;
        self.given = used + fuel;
        Ok(())
    }

    fn used(&self) -> Result<u64, WasmError> {
        let left = self.store.get_fuel().map_err(|error| WasmError::Module {
            reason: error.to_string(),
        })?;
        Ok(self.given - left)
    }
}
