use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::work::tests::block_on;

pub(in crate::work) const PRIMES: &[u8] = include_bytes!("../../../guests/primes.wasm");
const SUMMARY: &[u8] = include_bytes!("../../../guests/summary.wasm");

pub(in crate::work) fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn guest(module: &[u8]) -> Wasm {
    Wasm {
        module: module.to_vec(),
        fuel: 1_000_000,
        pages: 20,
    }
}

/// A module with a memory of one page, an `alloc` that gives address 0, and these further fields.
fn text(fields: &str) -> Wasm {
    let module = wat::parse_str(format!(
        "(module (memory (export \"memory\") 1) (func (export \"alloc\") (param i32) (result i32) i32.const 0) {fields})"
    ));
    guest(&module.unwrap())
}

/// A module whose `run` has this body.
fn body(instructions: &str) -> Wasm {
    text(&run_function(instructions))
}

fn run_function(instructions: &str) -> String {
    format!("(func (export \"run\") (param i32 i32) (result i64) {instructions})")
}

/// A `run` that stores the i64 which the instructions leave, and returns it as the output.
fn value(instructions: &str) -> Wasm {
    body(&format!("i32.const 0 {instructions} i64.store i64.const 8"))
}

fn run(wasm: &Wasm, input: &[u8]) -> WasmRun {
    block_on(wasm.execute(input)).unwrap().1
}

fn returned(wasm: &Wasm, input: &[u8]) -> Vec<u8> {
    match run(wasm, input).outcome {
        Outcome::Returned(bytes) => bytes,
        Outcome::Faulted(fault) => panic!("{fault}"),
    }
}

fn fault(wasm: &Wasm) -> Fault {
    match run(wasm, b"").outcome {
        Outcome::Returned(bytes) => panic!("returned {bytes:?}"),
        Outcome::Faulted(fault) => fault,
    }
}

fn refusal(wasm: &Wasm) -> WasmError {
    let error = wasm.check(b"").unwrap_err();
    assert_eq!(block_on(wasm.execute(b"")), Err(error.clone()));
    error
}

fn verify(
    wasm: &Wasm,
    input: &[u8],
    run: &WasmRun,
    seed: [u8; 32],
    executed_again: u16,
) -> Result<(), WasmError> {
    let policy = Policy {
        executed_again,
        ..Policy::default()
    };
    block_on(wasm.verify(input, digest(run), run, seed, &policy))
}

#[test]
fn a_guest_in_rust_finds_the_primes() {
    let is_prime = |n: &u64| (2..*n).all(|divisor| !n.is_multiple_of(divisor));
    let primes: Vec<u64> = (2..2_000).filter(is_prime).collect();
    assert_eq!(
        returned(&guest(PRIMES), &numbers(&[0, 2_000])),
        numbers(&primes)
    );
    let mut wasm = guest(PRIMES);
    wasm.fuel = 10_000_000;
    assert_eq!(
        returned(&wasm, &numbers(&[1 << 35, (1 << 35) + 60])),
        numbers(&[34_359_738_421])
    );
    assert_eq!(
        fault_on(PRIMES, &numbers(&[0, 1 << 30])),
        Fault::Unreachable
    );
    assert_eq!(fault_on(PRIMES, b"odd"), Fault::Unreachable);
}

fn fault_on(module: &[u8], input: &[u8]) -> Fault {
    match run(&guest(module), input).outcome {
        Outcome::Returned(bytes) => panic!("returned {bytes:?}"),
        Outcome::Faulted(fault) => fault,
    }
}

#[test]
fn the_output_of_one_guest_is_the_input_of_another() {
    let primes = returned(&guest(PRIMES), &numbers(&[0, 100]));
    assert_eq!(
        returned(&guest(SUMMARY), &primes),
        numbers(&[25, 2, 97, 1_060])
    );
}

/// Validators of all versions must agree on these: another figure here is a change of the protocol.
#[test]
fn fuel_does_not_change_between_versions() {
    assert_eq!(run(&guest(PRIMES), &numbers(&[0, 2_000])).fuel, 162_628);
    assert_eq!(run(&guest(SUMMARY), &numbers(&[1, 2, 3])).fuel, 2_462);
}

#[test]
fn modules_that_ask_for_more_than_their_input_are_refused() {
    let module = |text: &str| guest(&wat::parse_str(text).unwrap());
    assert_eq!(
        refusal(&text_with_import()),
        WasmError::Import {
            module: "env".into(),
            name: "clock".into()
        }
    );
    let begun = format!(
        "{} (func $begin) (start $begin)",
        run_function("i64.const 0")
    );
    assert!(matches!(refusal(&text(&begun)), WasmError::Module { .. }));
    assert_eq!(
        refusal(&module("(module)")),
        WasmError::Export {
            expected: "`memory`, a memory"
        }
    );
    assert_eq!(
        refusal(&text("")),
        WasmError::Export {
            expected: "`run`, a function from two i32 to an i64"
        }
    );
    assert_eq!(
        refusal(&module(
            "(module (memory (export \"memory\") 1) (func (export \"alloc\") (param i64) (result i32) i32.const 0))"
        )),
        WasmError::Export {
            expected: "`alloc`, a function from an i32 to an i32"
        }
    );
    assert_eq!(
        refusal(&module("(module (memory (export \"memory\") 21))")),
        WasmError::InitialMemory {
            pages: 21,
            allowed: 20
        }
    );
    let not_allowed = [
        "(memory 1)",
        "(func (param v128))",
        "(memory i64 1)",
        "(func $f return_call $f)",
    ];
    for fields in not_allowed {
        let refused = refusal(&text(&format!("{fields} {}", run_function("i64.const 0"))));
        assert!(
            matches!(refused, WasmError::Module { .. }),
            "{fields}: {refused}"
        );
    }
}

fn text_with_import() -> Wasm {
    let module =
        "(module (import \"env\" \"clock\" (func (result i64))) (memory (export \"memory\") 1))";
    guest(&wat::parse_str(module).unwrap())
}

#[test]
fn limits_are_checked_before_the_module() {
    let good = guest(PRIMES);
    for fuel in [0, FUEL_MAX + 1] {
        let wasm = Wasm {
            fuel,
            ..good.clone()
        };
        assert_eq!(refusal(&wasm), WasmError::Fuel { fuel });
    }
    for pages in [0, PAGES_MAX + 1] {
        let wasm = Wasm {
            pages,
            ..good.clone()
        };
        assert_eq!(refusal(&wasm), WasmError::Pages { pages });
    }
    let bytes = MODULE_BYTES_MAX + 1;
    assert_eq!(
        refusal(&guest(&vec![0; bytes])),
        WasmError::ModuleBytes { bytes }
    );
}

#[test]
fn every_fault_is_a_result() {
    let table = "(table 2 funcref) (func $f) (elem (i32.const 0) $f)";
    let indirect = |index: u32| {
        text(&format!(
            "{table} (type $other (func (param i32))) {}",
            run_function(&format!(
                "i32.const 0 i32.const {index} call_indirect (type $other) i64.const 0"
            ))
        ))
    };
    let cases = [
        (body("unreachable"), Fault::Unreachable),
        (value("i32.const 65530 i64.load"), Fault::MemoryOutOfBounds),
        (indirect(2), Fault::TableOutOfBounds),
        (indirect(1), Fault::IndirectCallToNull),
        (indirect(0), Fault::BadSignature),
        (
            value("i64.const 1 i64.const 0 i64.div_u"),
            Fault::DivisionByZero,
        ),
        (
            value("i64.const 0x8000000000000000 i64.const -1 i64.div_s"),
            Fault::IntegerOverflow,
        ),
        (value("f64.const nan i64.trunc_f64_s"), Fault::BadConversion),
        (
            text(
                "(func $deep (export \"run\") (param i32 i32) (result i64) i32.const 0 i32.const 0 call $deep)",
            ),
            Fault::StackOverflow,
        ),
        (body("(loop br 0) i64.const 0"), Fault::OutOfFuel),
        (body("i64.const 0x0000_fff8_0000_0009"), Fault::BadPlace),
        (body("i64.const 0x1_0001"), Fault::OutputTooLarge),
        (
            text(&format!(
                "(data (i32.const 65530) \"too far\") {}",
                run_function("i64.const 0")
            )),
            Fault::MemoryOutOfBounds,
        ),
        (
            text(&format!(
                "(table 1 funcref) (func $f) (elem (i32.const 1) $f) {}",
                run_function("i64.const 0")
            )),
            Fault::TableOutOfBounds,
        ),
        (
            text(&format!(
                "(table 5000 funcref) {}",
                run_function("i64.const 0")
            )),
            Fault::TooLarge,
        ),
    ];
    for (wasm, expected) in cases {
        assert_eq!(fault(&wasm), expected);
        let run = run(&wasm, b"");
        assert!(run.fuel <= wasm.fuel);
        assert_eq!(verify(&wasm, b"", &run, [0; 32], 1_000), Ok(()));
    }
}

#[test]
fn an_alloc_outside_the_memory_is_a_fault() {
    let module = "(module (memory (export \"memory\") 1) (func (export \"alloc\") (param i32) (result i32) i32.const -4)
        (func (export \"run\") (param i32 i32) (result i64) i64.const 0))";
    let wasm = guest(&wat::parse_str(module).unwrap());
    assert_eq!(
        run(&wasm, b"input").outcome,
        Outcome::Faulted(Fault::BadPlace)
    );
}

#[test]
fn memory_ends_at_the_tasks_pages_and_tables_at_the_limit() {
    // Grows by a page at a time until that fails, and returns the number of pages.
    let mut wasm = value(
        "(loop i32.const 1 memory.grow i32.const -1 i32.ne br_if 0) memory.size i64.extend_i32_u",
    );
    for pages in [1, 7, PAGES_MAX] {
        wasm.pages = pages;
        assert_eq!(returned(&wasm, b""), numbers(&[pages.into()]));
    }
    let grown = run_function(
        "i32.const 0 ref.null func i32.const 5000 table.grow i64.extend_i32_s i64.store i64.const 8",
    );
    let wasm = text(&format!("(table 0 funcref) {grown}"));
    assert_eq!(returned(&wasm, b""), numbers(&[u64::MAX]));
}

#[test]
fn nans_are_the_canonical_one() {
    let canonical = numbers(&[0x7ff8_0000_0000_0000]);
    for nan in [
        "f64.const 0 f64.const 0 f64.div",
        "f64.const -1 f64.sqrt",
        "f64.const -nan:0x4000000000123 f64.const 1 f64.add",
        "f64.const inf f64.const inf f64.sub",
        "f32.const -nan:0x200001 f64.promote_f32",
        "f64.const -nan f64.const 1 f64.min",
    ] {
        assert_eq!(
            returned(&value(&format!("{nan} i64.reinterpret_f64")), b""),
            canonical,
            "{nan}"
        );
    }
}

#[test]
fn a_long_run_lets_others_run() {
    let mut endless = body("(loop br 0) i64.const 0");
    endless.fuel = machine::FUEL_PER_TURN;
    assert!(endless.execute(b"").now_or_never().is_some());
    endless.fuel = 10 * machine::FUEL_PER_TURN;
    assert!(endless.execute(b"").now_or_never().is_none());
}

#[test]
fn claims_beyond_the_bounds_are_refused_without_execution() {
    let wasm = guest(PRIMES);
    let large = WasmRun {
        fuel: 1,
        outcome: Outcome::Returned(vec![0; OUTPUT_BYTES_MAX + 1]),
    };
    assert_eq!(
        verify(&wasm, b"", &large, [0; 32], 1),
        Err(WasmError::ResultBounds)
    );
    let costly = WasmRun {
        fuel: wasm.fuel + 1,
        outcome: Outcome::Faulted(Fault::OutOfFuel),
    };
    assert_eq!(
        verify(&wasm, b"", &costly, [0; 32], 1),
        Err(WasmError::ResultBounds)
    );
}

/// Output, fault and fuel, each false in turn: never passed where it is executed again, which happens as often as stated.
#[test]
fn false_results_are_found_with_the_stated_probability() {
    let wasm = body("i64.const 2");
    let honest = run(&wasm, b"input");
    let more_fuel = WasmRun {
        fuel: honest.fuel + 1,
        ..honest.clone()
    };
    assert_eq!(
        verify(&wasm, b"input", &more_fuel, [0; 32], 1_000),
        Err(WasmError::FalseFuel {
            claimed: honest.fuel + 1,
            used: honest.fuel
        })
    );
    let claim = |outcome| WasmRun {
        fuel: honest.fuel,
        outcome,
    };
    let false_runs = [
        more_fuel,
        claim(Outcome::Returned(b"no".to_vec())),
        claim(Outcome::Faulted(Fault::Unreachable)),
    ];
    let policy = Policy::default();
    let stated = 1.0 - wasm.miss_probability(1.0, &policy);
    for run in &false_runs {
        assert!(verify(&wasm, b"input", run, [0; 32], 1_000).is_err());
        let found = (0u32..1_000)
            .filter(|trial| {
                let seed = Sha256::digest(trial.to_be_bytes()).into();
                assert_eq!(
                    verify(&wasm, b"input", &honest, seed, policy.executed_again),
                    Ok(())
                );
                verify(&wasm, b"input", run, seed, policy.executed_again).is_err()
            })
            .count();
        // Five standard deviations of 1,000 trials with a probability of 1/4.
        assert!(
            (found as f64 / 1_000.0 - stated).abs() < 0.069,
            "{found} of 1,000"
        );
    }
}

#[test]
fn one_seed_draws_independently_among_results() {
    let policy = Policy::default();
    let drawn = (0u8..200)
        .filter(|result| is_drawn([9; 32], B256::repeat_byte(*result), &policy))
        .count();
    assert!((20..80).contains(&drawn), "{drawn} of 200");
}

/// The interpreter's compiler meets instructions where it has no block left.
#[test]
fn a_function_that_goes_on_after_its_end_is_refused() {
    let mut wasm = body("(block nop) i64.const 0");
    let block = [0x02, 0x40, 0x01, 0x0b];
    let at = wasm.module.windows(4).position(|bytes| bytes == block);
    // A constant in the place of the block's begin: its end is then the function's.
    wasm.module[at.expect("a block of one instruction")] = 0x41;
    assert!(matches!(refusal(&wasm), WasmError::Module { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Slices must leave no trace in what a run uses or returns, whichever instruction they end in.
    #[test]
    fn the_size_of_a_turn_makes_no_difference(per_turn in 1u64..3_000, fuel in 1u64..60_000, which in 0usize..4) {
        let wasm = match which {
            0 => guest(PRIMES),
            // Bulk instructions take fuel by the byte, and growth by the page.
            1 => value(
                "(loop i32.const 3 memory.grow drop
                   i32.const 0 i32.const 7 i32.const 60000 memory.fill
                   i32.const 30000 i32.const 100 i32.const 30000 memory.copy
                   memory.size i32.const 15 i32.lt_u br_if 0)
                 i64.const 1"),
            2 => body("(loop br 0) i64.const 0"),
            _ => value("(loop i32.const 1000 i32.const 5 i32.const 64000 memory.fill br 0) i64.const 0"),
        };
        let wasm = Wasm { fuel, ..wasm };
        let input = numbers(&[0, 300]);
        let whole = run(&wasm, &input);
        let sliced = block_on(machine::run(&wasm, &input, per_turn)).unwrap();
        prop_assert_eq!(&sliced, &whole);
        prop_assert!(whole.fuel <= fuel);
    }

    #[test]
    fn arbitrary_modules_never_panic(module in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut headed = b"\0asm\x01\0\0\0".to_vec();
        headed.extend_from_slice(&module);
        for module in [module, headed] {
            let _ = block_on(guest(&module).execute(b"input"));
        }
    }

    /// Most changes leave a module that runs: it keeps to its limits, and can be verified like any other.
    #[test]
    fn damaged_guests_keep_to_their_limits(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut wasm = guest(SUMMARY);
        wasm.fuel = 50_000;
        for (place, byte) in changes {
            let place = place.index(wasm.module.len());
            wasm.module[place] = byte;
        }
        let input = numbers(&[4, 5, 6]);
        if let Ok((_, run)) = block_on(wasm.execute(&input)) {
            prop_assert!(run.fuel <= wasm.fuel);
            prop_assert_eq!(verify(&wasm, &input, &run, [0; 32], 1_000), Ok(()));
        }
    }
}
