use std::cell::Cell;

use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::work::tests::block_on;

thread_local! {
    /// Multiply-adds done on this thread, as the two inner loops count them.
    pub(super) static COUNTED: Cell<u64> = const { Cell::new(0) };
}

const SEED: [u8; 32] = [5; 32];

fn counted<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNTED.get();
    let done = run();
    (done, COUNTED.get() - before)
}

fn seeded(size: u16) -> Matmul {
    Matmul {
        size,
        factors: Factors::Seeded,
    }
}

fn inline(size: u16) -> Matmul {
    Matmul {
        size,
        factors: Factors::Inline,
    }
}

fn run(work: &Matmul, input: &[u8]) -> (B256, Product) {
    block_on(work.execute(input)).unwrap()
}

fn verify(
    work: &Matmul,
    input: &[u8],
    product: &Product,
    seed: [u8; 32],
) -> Result<(), MatmulError> {
    let output = product.digest();
    block_on(work.verify(input, output, product, seed, &Policy::default()))
}

/// The same product with the lowest bit of one byte flipped.
fn flipped(product: &Product, at: usize) -> Product {
    let mut entries = product.entries().to_vec();
    entries[at] ^= 1;
    Product::new(entries)
}

fn bytes(entries: &[u32]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect()
}

fn entries(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// From the definition, in numbers that cannot overflow.
fn by_definition(n: usize, first: &[u32], second: &[u32]) -> Vec<u32> {
    let entry = |i: usize, j: usize| {
        let sum: u128 = (0..n)
            .map(|k| u128::from(first[i * n + k]) * u128::from(second[k * n + j]))
            .sum();
        (sum % u128::from(MODULUS)) as u32
    };
    (0..n * n).map(|at| entry(at / n, at % n)).collect()
}

/// The factors that a seed stands for.
fn factors(n: usize, input: &[u8]) -> Vec<u32> {
    let mut drawn = vec![0; 2 * n * n];
    Source::new(&seeded(n as u16), input).read(0, &mut drawn);
    drawn
}

#[test]
fn seeded_factors_do_not_change_between_versions() {
    assert_eq!(
        factors(2, b"seed"),
        [
            1_863_523_071,
            552_482_180,
            1_144_045_156,
            316_400_385,
            1_306_160_077,
            817_542_275,
            1_978_760_438,
            10_832_859,
        ]
    );
}

#[test]
fn factors_are_the_same_however_they_are_read() {
    let whole = factors(15, b"seed");
    let source = Source::new(&seeded(15), b"seed");
    for at in 0..20 {
        for count in 0..8 {
            let mut read = vec![0; count];
            source.read(at, &mut read);
            assert_eq!(read, whole[at..at + count], "{count} from {at}");
        }
    }
}

#[test]
fn the_largest_entries_do_not_overflow() {
    for n in [1, 2, 3, 4, 5, 89] {
        let largest = vec![MODULUS - 1; 2 * n * n];
        let work = inline(n as u16);
        let input = bytes(&largest);
        let (_, product) = run(&work, &input);
        assert_eq!(
            entries(product.entries()),
            by_definition(n, &largest[..n * n], &largest[n * n..])
        );
        assert_eq!(verify(&work, &input, &product, SEED), Ok(()));
    }
}

#[test]
fn a_wrong_entry_of_a_product_of_512_is_caught_for_less_than_5_percent_of_the_work() {
    let work = seeded(SIZE_MAX);
    let ((output, product), worked) = counted(|| run(&work, b"seed"));
    assert_eq!(product.entries().len(), 1 << 20);
    assert_eq!(worked, 512 * 512 * 512);
    assert_eq!(worked, work.work(&product));

    let policy = Policy::default();
    let (verdict, verified) =
        counted(|| block_on(work.verify(b"seed", output, &product, SEED, &policy)));
    assert_eq!(verdict, Ok(()));
    assert_eq!(verified, work.verification_work(&product, &policy));
    assert!(20 * verified < worked, "{verified} of {worked}");

    let (row, column) = (317, 42);
    let product = flipped(&product, 4 * (row * 512 + column));
    assert_eq!(
        verify(&work, b"seed", &product, SEED),
        Err(MatmulError::FalseProduct { row })
    );
}

#[test]
fn bounds_are_checked_before_any_work() {
    for size in [0, SIZE_MAX + 1, u16::MAX] {
        assert_eq!(seeded(size).check(b""), Err(MatmulError::Size { size }));
    }
    assert_eq!(
        inline(2).check(&[0; 31]),
        Err(MatmulError::Bytes {
            what: "the input",
            found: 31,
            expected: 32
        })
    );
    let mut no_residue = bytes(&[0; 8]);
    no_residue[20..24].copy_from_slice(&MODULUS.to_le_bytes());
    assert_eq!(
        inline(2).check(&no_residue),
        Err(MatmulError::Entry {
            what: "the input",
            index: 5,
            entry: MODULUS
        })
    );
}

/// Another representative of the same residue would give the same sums under another digest.
#[test]
fn an_entry_of_a_product_has_one_form() {
    let work = inline(1);
    let input = bytes(&[0, 7]);
    let (_, product) = run(&work, &input);
    assert_eq!(entries(product.entries()), [0]);
    let other = Product::new(bytes(&[MODULUS]));
    assert!(matches!(
        verify(&work, &input, &other, SEED),
        Err(MatmulError::Entry { .. })
    ));
}

#[test]
fn a_product_of_another_length_or_digest_is_refused() {
    let work = seeded(8);
    let (output, product) = run(&work, b"");
    let long = Product::new([product.entries(), &[0]].concat());
    assert!(matches!(
        verify(&work, b"", &long, SEED),
        Err(MatmulError::Bytes { .. })
    ));
    let output = B256::new(output.0.map(|byte| !byte));
    assert_eq!(
        block_on(work.verify(b"", output, &product, SEED, &Policy::default())),
        Err(MatmulError::Digest { output })
    );
}

/// The bound `1/p` is met with equality only by vectors with a zero where the error is: the check is as sharp as its
/// random vector.
#[test]
fn an_error_passes_only_where_the_vector_is_zero() {
    let n = 6;
    let input = bytes(&factors(n, b"some"));
    let work = inline(n as u16);
    let (_, product) = run(&work, &input);
    let product = flipped(&product, 4 * 3);
    for trial in 0..200u8 {
        let vector = random_vector([trial; 32], 0, n);
        assert_ne!(vector[3], 0, "one in 2^31");
        assert_eq!(
            verify(&work, &input, &product, [trial; 32]),
            Err(MatmulError::FalseProduct { row: 0 })
        );
    }
}

#[test]
fn random_vectors_are_residues_that_differ_by_seed_and_index() {
    let first = random_vector(SEED, 0, 1_000);
    assert_eq!(first.len(), 1_000);
    assert!(first.iter().all(|entry| *entry < MODULUS));
    assert_ne!(first, random_vector(SEED, 1, 1_000));
    assert_ne!(first, random_vector([6; 32], 0, 1_000));
    let mean = first.iter().map(|entry| f64::from(*entry)).sum::<f64>() / 1_000.0;
    // Five standard deviations of the mean of 1,000 uniform residues.
    let half = f64::from(MODULUS) / 2.0;
    assert!((mean - half).abs() < 5.0 * f64::from(MODULUS) / 12f64.sqrt() / 1_000f64.sqrt());
}

#[test]
fn large_products_let_others_run() {
    assert!(seeded(160).execute(b"").now_or_never().is_none());
    assert!(seeded(20).execute(b"").now_or_never().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_those_of_the_definition(size in 1u16..24, seed in any::<[u8; 8]>()) {
        let n = usize::from(size);
        let drawn = factors(n, &seed);
        let expected = by_definition(n, &drawn[..n * n], &drawn[n * n..]);
        let (output, product) = run(&seeded(size), &seed);
        prop_assert_eq!(entries(product.entries()), expected);
        prop_assert_eq!(verify(&seeded(size), &seed, &product, SEED), Ok(()));
        // The same factors, sent instead of drawn.
        let (same_output, same) = run(&inline(size), &bytes(&drawn));
        prop_assert_eq!((same_output, same), (output, product));
    }

    #[test]
    fn any_false_product_is_refused(
        size in 1u16..24,
        seed in any::<[u8; 32]>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1u32..MODULUS), 1..40),
    ) {
        let work = seeded(size);
        let (_, product) = run(&work, &seed);
        let mut changed = entries(product.entries());
        for (place, add) in changes {
            let place = place.index(changed.len());
            changed[place] = ((u64::from(changed[place]) + u64::from(add)) % u64::from(MODULUS)) as u32;
        }
        let changed = Product::new(bytes(&changed));
        prop_assume!(changed != product);
        let is_caught = matches!(
            verify(&work, &seed, &changed, seed),
            Err(MatmulError::FalseProduct { .. })
        );
        prop_assert!(is_caught);
    }

    #[test]
    fn verification_never_panics(
        size in 0u16..20,
        is_inline in any::<bool>(),
        input in prop::collection::vec(any::<u8>(), 0..200),
        entries in prop::collection::vec(any::<u8>(), 0..2_000),
        seed in any::<[u8; 32]>(),
    ) {
        let work = if is_inline { inline(size) } else { seeded(size) };
        let product = Product::new(entries);
        let _ = verify(&work, &input, &product, seed);
        let _ = block_on(work.execute(&input));
    }
}
