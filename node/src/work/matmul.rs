//! Products of two square matrices, verified far faster than they are computed.
//!
//! Entries are integers modulo the prime [`MODULUS`] = 2³¹ − 1. Floating point would round differently with the order of
//! the additions, so that an honest result could not be told from a false one; modulo a prime every honest worker gets
//! the same product however it computes it, and the check below has an exact bound. Four bytes hold an entry, and the
//! product of two entries fits into 62 bits.
//!
//! # Verification
//! Freivalds' check: `C = A·B` implies `C·r = A·(B·r)` for every vector `r`; if `C ≠ A·B`, then a random `r` shows it
//! except with probability at most `1/p`, whichever entries are wrong and however few. One vector costs `3n²`
//! multiply-adds instead of the product's `n³`; [`Policy::vectors`] = k of them miss a false product with probability
//! at most `p⁻ᵏ`, which is 2⁻⁶² for the default of two. For n = 512 these two cost 1.2 % of the multiply-adds. So little that
//! what surrounds the check decides what a verification costs: a product's digest is BLAKE3, and taken once.

use std::sync::OnceLock;

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Policy, RESULT_OVERHEAD, TaskProof, Workload};

/// Name of the network that this workload serves.
pub const NETWORK: &str = "matmul";
/// Entries are integers from 0 to this prime, exclusive.
pub const MODULUS: u32 = (1 << 31) - 1;
/// Most rows of a matrix: a product of this size has 1 MiB.
pub const SIZE_MAX: u16 = 512;

/// Multiply-adds before other tasks of the runtime get their turn: about a millisecond.
const PER_TURN: usize = 1 << 20;

/// The product of two square matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matmul {
    /// Rows, and columns, of each matrix: from 1 to [`SIZE_MAX`].
    pub size: u16,
    /// Where the factors come from.
    pub factors: Factors,
}

/// Where the factors of a product come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Factors {
    /// Drawn from the task's input, which is a seed of any length.
    Seeded,
    /// The task's input is the first matrix and then the second, row by row, each entry four bytes, lowest first.
    Inline,
}

/// A product, row by row, each entry four bytes, lowest first. It never changes, so that its digest is taken once, however
/// many signatures stand for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    #[serde(with = "super::bytes")]
    entries: Vec<u8>,
    #[serde(skip)]
    digest: OnceLock<B256>,
}

impl Product {
    /// A product of these entries, right or wrong.
    pub fn new(entries: Vec<u8>) -> Self {
        Self {
            entries,
            digest: OnceLock::new(),
        }
    }

    /// The entries.
    pub fn entries(&self) -> &[u8] {
        &self.entries
    }

    /// The output that goes with this product: BLAKE3 of the entries, its key derived for this one use.
    pub fn digest(&self) -> B256 {
        *self.digest.get_or_init(|| {
            let digest = blake3::derive_key("smartnodes/1/matmul", &self.entries);
            B256::new(digest)
        })
    }
}

impl PartialEq for Product {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Product {}

impl From<Product> for TaskProof {
    fn from(product: Product) -> Self {
        Self::Matmul(product)
    }
}

/// Factors or a product are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatmulError {
    /// The size is out of bounds.
    #[error("size is {size}, it must be from 1 to {SIZE_MAX}")]
    Size {
        /// The size given.
        size: u16,
    },
    /// The matrices have not the size that they should have.
    #[error("{what} has {found} bytes, matrices of this size have {expected}")]
    Bytes {
        /// The input or the product.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// An entry is no residue.
    #[error("entry {index} of {what} is {entry}, it must be below {MODULUS}")]
    Entry {
        /// The input or the product.
        what: &'static str,
        /// Its index from 0, row by row.
        index: usize,
        /// Its value.
        entry: u32,
    },
    /// The digest is not that of the product.
    #[error("the output {output} is not the digest of the product")]
    Digest {
        /// As it was given.
        output: B256,
    },
    /// Nothing would be verified.
    #[error("the policy has 0 vectors, a verification takes at least one")]
    NoVectors,
    /// The product is false.
    #[error("row {row} of the product is not that of the factors")]
    FalseProduct {
        /// The first row, from 0, that is found to be wrong.
        row: usize,
    },
}

impl Workload for Matmul {
    const NETWORK: &'static str = NETWORK;
    const WORK_PER_CAPACITY: u64 = 200;
    type Proof = Product;
    type Error = MatmulError;

    fn proof(proof: &TaskProof) -> Option<&Product> {
        match proof {
            TaskProof::Matmul(product) => Some(product),
            _ => None,
        }
    }

    fn check_parameters(&self) -> Result<(), MatmulError> {
        if self.size == 0 || self.size > SIZE_MAX {
            return Err(MatmulError::Size { size: self.size });
        }
        Ok(())
    }

    fn check(&self, input: &[u8]) -> Result<(), MatmulError> {
        self.check_parameters()?;
        match self.factors {
            Factors::Seeded => Ok(()),
            Factors::Inline => check_entries("the input", input, 2 * self.entries()),
        }
    }

    async fn execute(&self, input: &[u8]) -> Result<(B256, Product), MatmulError> {
        self.check(input)?;
        let n = usize::from(self.size);
        let factors = Source::new(self, input);
        let mut second = vec![0; n * n];
        factors.read(n * n, &mut second);
        let mut first_row = vec![0; n];
        let mut sums = vec![0; n];
        let mut entries = Vec::with_capacity(4 * n * n);
        let mut turn = Turn::default();
        for row in 0..n {
            factors.read(row * n, &mut first_row);
            multiply_row(&first_row, &second, &mut sums);
            for sum in &sums {
                entries.extend_from_slice(&residue(*sum).to_le_bytes());
            }
            turn.spend(n * n).await;
        }
        let product = Product::new(entries);
        Ok((product.digest(), product))
    }

    async fn verify(
        &self,
        input: &[u8],
        output: B256,
        product: &Product,
        seed: [u8; 32],
        policy: &Policy,
    ) -> Result<(), MatmulError> {
        self.check(input)?;
        check_entries("the product", &product.entries, self.entries())?;
        if product.digest() != output {
            return Err(MatmulError::Digest { output });
        }
        if policy.vectors == 0 {
            return Err(MatmulError::NoVectors);
        }
        let n = usize::from(self.size);
        let factors = Source::new(self, input);
        let product = Source::Bytes(&product.entries);
        let vectors: Vec<Vec<u32>> = (0..policy.vectors)
            .map(|index| random_vector(seed, index, n))
            .collect();
        let mut row_entries = vec![0; n];
        let mut turn = Turn::default();
        // B·r, for each r.
        let mut images = vec![vec![0; n]; vectors.len()];
        for row in 0..n {
            factors.read(n * n + row * n, &mut row_entries);
            for (image, vector) in images.iter_mut().zip(&vectors) {
                image[row] = dot(&row_entries, vector);
            }
            turn.spend(n * vectors.len()).await;
        }
        let mut product_row = vec![0; n];
        for row in 0..n {
            factors.read(row * n, &mut row_entries);
            product.read(row * n, &mut product_row);
            for (image, vector) in images.iter().zip(&vectors) {
                if dot(&row_entries, image) != dot(&product_row, vector) {
                    return Err(MatmulError::FalseProduct { row });
                }
            }
            turn.spend(2 * n * vectors.len()).await;
        }
        Ok(())
    }

    fn result_bytes_max(&self) -> usize {
        RESULT_OVERHEAD + 4 * self.entries()
    }

    fn work_max(&self) -> u64 {
        u64::from(self.size).pow(3)
    }

    /// Multiply-adds of the schoolbook product, however the worker computes it.
    fn work(&self, _product: &Product) -> u64 {
        u64::from(self.size).pow(3)
    }

    fn verification_work(&self, _product: &Product, policy: &Policy) -> u64 {
        3 * u64::from(policy.vectors) * u64::from(self.size).pow(2)
    }

    /// At most `p⁻ᵏ`, whatever share of the entries is wrong.
    fn miss_probability(&self, _omitted: f64, policy: &Policy) -> f64 {
        f64::from(MODULUS).powi(-i32::from(policy.vectors))
    }
}

impl Matmul {
    /// Entries of one matrix.
    fn entries(&self) -> usize {
        usize::from(self.size).pow(2)
    }
}

/// Where entries are read from, one after the other.
enum Source<'a> {
    Bytes(&'a [u8]),
    Seed { state: u64 },
}

impl<'a> Source<'a> {
    fn new(work: &Matmul, input: &'a [u8]) -> Self {
        match work.factors {
            Factors::Inline => Self::Bytes(input),
            Factors::Seeded => Self::Seed {
                state: word(&Sha256::digest(input)),
            },
        }
    }

    /// Reads the entries from index `at` on.
    fn read(&self, at: usize, into: &mut [u32]) {
        match self {
            Self::Bytes(bytes) => {
                let (entries, _) = bytes[4 * at..].as_chunks();
                for (into, entry) in into.iter_mut().zip(entries) {
                    *into = u32::from_le_bytes(*entry);
                }
            }
            Self::Seed { state } => {
                let mut pair = at as u64 / 2;
                // Rows of odd length begin in the midst of a pair.
                let (first, into) = into.split_at_mut((at % 2).min(into.len()));
                if let [first] = first {
                    *first = drawn(*state, pair)[1];
                    pair += 1;
                }
                let (pairs, last) = into.as_chunks_mut();
                for (pair, into) in (pair..).zip(&mut *pairs) {
                    *into = drawn(*state, pair);
                }
                if let [last] = last {
                    *last = drawn(*state, pair + pairs.len() as u64)[0];
                }
            }
        }
    }
}

/// Two entries of the sequence that begins at `state`, from index `2 · pair` on: lower and upper 31 bits of wyrand
/// (<https://github.com/wangyi-fudan/wyhash>). A verifier draws each entry once, so a cryptographic generator would cost it
/// more than the check; whoever submits the job chooses the seed, and with it the factors, in either case.
fn drawn(state: u64, pair: u64) -> [u32; 2] {
    let counter = state.wrapping_add((pair + 1).wrapping_mul(0xa076_1d64_78bd_642f));
    let square = u128::from(counter) * u128::from(counter ^ 0xe703_7ed1_a0b4_28db);
    let word = (square >> 64) as u64 ^ square as u64;
    [word as u32 & MODULUS, (word >> 33) as u32]
        .map(|entry| if entry == MODULUS { 0 } else { entry })
}

/// A vector that nobody can foresee who does not know the seed. Uniform: the one 31-bit value that is no residue is
/// drawn again.
fn random_vector(seed: [u8; 32], index: u8, n: usize) -> Vec<u32> {
    let mut vector = Vec::with_capacity(n);
    for block in 0u64.. {
        let block = Sha256::new()
            .chain_update(b"smartnodes/1/freivalds")
            .chain_update(seed)
            .chain_update([index])
            .chain_update(block.to_be_bytes())
            .finalize();
        let (words, _) = block.as_chunks();
        for word in words {
            let entry = u32::from_be_bytes(*word) >> 1;
            if entry < MODULUS {
                if vector.len() == n {
                    return vector;
                }
                vector.push(entry);
            }
        }
    }
    vector
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn check_entries(what: &'static str, bytes: &[u8], entries: usize) -> Result<(), MatmulError> {
    if bytes.len() != 4 * entries {
        return Err(MatmulError::Bytes {
            what,
            found: bytes.len(),
            expected: 4 * entries,
        });
    }
    let (words, _) = bytes.as_chunks();
    let mut entries = words.iter().map(|word| u32::from_le_bytes(*word));
    // A maximum takes less than half as long as a search.
    if entries.clone().max() < Some(MODULUS) {
        return Ok(());
    }
    match entries.position(|entry| entry >= MODULUS) {
        Some(index) => Err(MatmulError::Entry {
            what,
            index,
            entry: u32::from_le_bytes(words[index]),
        }),
        None => Ok(()),
    }
}

/// Below 2³⁴, and congruent: 2³¹ is 1 modulo [`MODULUS`].
fn fold(sum: u64) -> u64 {
    (sum & u64::from(MODULUS)) + (sum >> 31)
}

fn residue(sum: u64) -> u32 {
    (sum % u64::from(MODULUS)) as u32
}

/// Products that may be added to a folded sum: 3 · (2³¹ − 2)² + 2³⁴ is below 2⁶⁴.
const PER_FOLD: usize = 3;

/// One row of the product, from a row of the first factor and all of the second: congruent sums.
fn multiply_row(first_row: &[u32], second: &[u32], sums: &mut [u64]) {
    let n = first_row.len();
    sums.fill(0);
    let mut factors = first_row.iter().zip(second.chunks_exact(n));
    // Three rows at a time, so that each sum is folded once for three products.
    while let Some((a0, row0)) = factors.next() {
        let [(a1, row1), (a2, row2)] =
            [(); PER_FOLD - 1].map(|()| factors.next().unwrap_or((&0, row0)));
        let (a0, a1, a2) = (u64::from(*a0), u64::from(*a1), u64::from(*a2));
        for (((sum, b0), b1), b2) in sums.iter_mut().zip(row0).zip(row1).zip(row2) {
            let products = a0 * u64::from(*b0) + a1 * u64::from(*b1) + a2 * u64::from(*b2);
            *sum = fold(*sum + products);
        }
    }
    count(n * n);
}

fn dot(a: &[u32], b: &[u32]) -> u32 {
    let products = a.iter().zip(b).map(|(a, b)| u64::from(*a) * u64::from(*b));
    // No sum of 512 products overflows; folding them would cost as much as the products do.
    let sum: u128 = products.map(u128::from).sum();
    count(a.len());
    (sum % u128::from(MODULUS)) as u32
}

/// Multiply-adds since the last turn of others.
#[derive(Default)]
struct Turn {
    spent: usize,
}

impl Turn {
    async fn spend(&mut self, multiply_adds: usize) {
        self.spent += multiply_adds;
        if self.spent >= PER_TURN {
            self.spent = 0;
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(not(test))]
fn count(_multiply_adds: usize) {}

#[cfg(test)]
fn count(multiply_adds: usize) {
    tests::COUNTED.with(|counted| counted.set(counted.get() + multiply_adds as u64));
}

#[cfg(test)]
mod tests;
