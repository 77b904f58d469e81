//! A chain of hashes: work that can only be done one step after the other, and checked in pieces.
//!
//! `h₀ = sha256(input)`, `hᵢ₊₁ = sha256(hᵢ ‖ k)`, where `k` is the first half of `h₀`; the result is `h` after `steps`
//! steps. The proof holds `h` at the end of each of up to [`CHECKPOINTS_MAX`] segments of (nearly) equal length, so that a
//! verifier can recompute any segment alone, and several at once.
//!
//! Every step depends on the input by `k`. Without it, the segments of a chain would be true whatever the input: a worker
//! could give the chain of an earlier task for each later one, with a single false segment, the first.
//!
//! # Probability of detection
//! A chain cannot be entered in the middle, and no part of another input's is of any use: a worker saves work only by
//! breaking the chain at the start of segments that it did not compute. If `f` of the `n` segments of a proof are false, a verification that samples `k` of them,
//! without replacement, finds it with probability `1 − C(n−f, k) / C(n, k)`, which is at least `1 − (1 − f/n)ᵏ`: a
//! worker that skips half of the work passes 16 samples with a chance below 1 in 65,000, one that computes nothing never
//! passes, and one that breaks a single segment (a wrong result, 1/n of the work saved) passes with `1 − k/n`.
//! `k ≥ n` is full verification. Replication of a task finds wrong results of the last kind.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Range;

use super::{Policy, RESULT_OVERHEAD, TaskProof, Workload};

/// Name of the network that this workload serves.
pub const NETWORK: &str = "hash-chain";

/// Most steps of one chain: some tens of seconds on one core, and less than one second to verify 16 segments.
pub const STEPS_MAX: u64 = 1 << 26;

/// Most checkpoints of a proof (8 KiB of hashes). Shorter chains have a checkpoint at each step.
pub const CHECKPOINTS_MAX: u64 = 256;

/// Hashes computed before other tasks of the runtime get their turn: below a millisecond on slow machines.
const HASHES_PER_TURN: u64 = 10_000;

/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// Bytes of the input's hash that go into each step.
const KEY_BYTES: usize = 16;

/// Most bytes of an encoded checkpoint: 32, and a header of two.
pub(super) const CHECKPOINT_BYTES: usize = 34;

/// A chain of the task's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashChain {
    /// How many times the hash is applied after the first, at most [`STEPS_MAX`].
    pub steps: u64,
}

/// The checkpoints of a computed chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashChainProof {
    /// The hash at the end of each segment; the last is the result.
    pub checkpoints: Vec<B256>,
}

impl HashChainProof {
    /// The result of the chain; `None` for a proof without checkpoints, which no verification accepts.
    pub fn output(&self) -> Option<B256> {
        self.checkpoints.last().copied()
    }
}

impl From<HashChainProof> for TaskProof {
    fn from(proof: HashChainProof) -> Self {
        Self::HashChain(proof)
    }
}

/// A hash chain's parameters or proof are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The number of steps is out of bounds.
    #[error("steps is {steps}, it must be from 1 to {STEPS_MAX}")]
    Steps {
        /// The number given.
        steps: u64,
    },
    /// The proof has not one checkpoint for each segment.
    #[error("the proof has {found} checkpoints, a chain of this length has {expected}")]
    CheckpointCount {
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: u64,
    },
    /// Nothing would be verified.
    #[error("samples is 0, at least one segment must be verified")]
    NoSamples,
    /// The result is not the one that its own proof ends with.
    #[error("the output {output} is not the end {proven} of its proof")]
    OutputMismatch {
        /// The result as given.
        output: B256,
        /// What the proof ends with.
        proven: B256,
    },
    /// A segment does not lead to its checkpoint.
    #[error(
        "segment {segment} of {segments} does not hash to its checkpoint: the work was not done"
    )]
    FalseSegment {
        /// Its index from 0.
        segment: u64,
        /// The number of segments.
        segments: u64,
    },
}

impl Workload for HashChain {
    const NETWORK: &'static str = NETWORK;
    const WORK_PER_CAPACITY: u64 = 1;
    type Proof = HashChainProof;
    type Error = ProofError;

    fn proof(proof: &TaskProof) -> Option<&HashChainProof> {
        match proof {
            TaskProof::HashChain(proof) => Some(proof),
            _ => None,
        }
    }

    fn check_parameters(&self) -> Result<(), ProofError> {
        check_steps(self.steps)
    }

    async fn execute(&self, input: &[u8]) -> Result<(B256, HashChainProof), ProofError> {
        self.check(input)?;
        let proof = execute(input, self.steps).await;
        // Steps were checked, so there is a checkpoint.
        let output = proof.output().unwrap_or_default();
        Ok((output, proof))
    }

    async fn verify(
        &self,
        input: &[u8],
        output: B256,
        proof: &HashChainProof,
        seed: [u8; 32],
        policy: &Policy,
    ) -> Result<(), ProofError> {
        check_shape(self.steps, proof)?;
        let proven = proof.output().unwrap_or_default();
        if proven != output {
            return Err(ProofError::OutputMismatch { output, proven });
        }
        verify(input, self.steps, proof, seed, policy.segments.into()).await
    }

    fn result_bytes_max(&self) -> usize {
        RESULT_OVERHEAD + CHECKPOINT_BYTES * segment_count(self.steps) as usize
    }

    fn work_max(&self) -> u64 {
        self.steps
    }

    fn work(&self, _proof: &HashChainProof) -> u64 {
        self.steps
    }

    fn verification_work(&self, _proof: &HashChainProof, policy: &Policy) -> u64 {
        let segments = segment_count(self.steps).max(1);
        let share = u128::from(segments.min(policy.segments.into()));
        let steps = u128::from(self.steps) * share / u128::from(segments);
        u64::try_from(steps).unwrap_or(u64::MAX)
    }

    /// `C(n−f, k) / C(n, k)`, where `f` is the omitted share of the `n` segments, rounded up.
    fn miss_probability(&self, omitted: f64, policy: &Policy) -> f64 {
        let segments = segment_count(self.steps) as f64;
        let honest = segments - (omitted * segments).ceil();
        (0..policy.segments)
            .map(f64::from)
            .take_while(|drawn| *drawn < segments)
            .map(|drawn| ((honest - drawn) / (segments - drawn)).max(0.0))
            .product()
    }
}

/// Checks that a chain of `steps` may be asked for.
pub fn check_steps(steps: u64) -> Result<(), ProofError> {
    if steps == 0 || steps > STEPS_MAX {
        return Err(ProofError::Steps { steps });
    }
    Ok(())
}

/// Checks all of a proof that can be checked without hashing.
pub fn check_shape(steps: u64, proof: &HashChainProof) -> Result<(), ProofError> {
    check_steps(steps)?;
    let expected = segment_count(steps);
    if proof.checkpoints.len() as u64 != expected {
        return Err(ProofError::CheckpointCount {
            found: proof.checkpoints.len(),
            expected,
        });
    }
    Ok(())
}

/// Computes the chain, letting other tasks of the runtime run every ten thousand hashes.
///
/// The caller has checked the steps ([`check_steps`]): without any there are no checkpoints.
pub async fn execute(input: &[u8], steps: u64) -> HashChainProof {
    let segments = segment_count(steps);
    let mut checkpoints = Vec::with_capacity(segments as usize);
    let link = Link::of(input);
    let mut hash = link.first;
    let mut done: u64 = 0;
    for segment in 0..segments {
        let end = segment_steps(steps, segment).end;
        while done < end {
            let turn_end = end.min(next_turn(done));
            hash = link.advance(hash, turn_end - done);
            done = turn_end;
            if done.is_multiple_of(HASHES_PER_TURN) {
                tokio::task::yield_now().await;
            }
        }
        checkpoints.push(hash);
    }
    HashChainProof { checkpoints }
}

/// Recomputes up to `samples` segments, chosen by `challenge_seed`, and compares them with the proof.
///
/// The module's page gives the probability that a false proof is found. The seed must be unpredictable for the worker
/// until it has delivered the proof; with the same seed, every verifier looks at the same segments. Other tasks of the
/// runtime run as in [`execute`].
pub async fn verify(
    input: &[u8],
    steps: u64,
    proof: &HashChainProof,
    challenge_seed: [u8; 32],
    samples: usize,
) -> Result<(), ProofError> {
    check_shape(steps, proof)?;
    if samples == 0 {
        return Err(ProofError::NoSamples);
    }
    let segments = segment_count(steps);
    let link = Link::of(input);
    let mut hashed = 0;
    for segment in sample_segments(segments, challenge_seed, samples) {
        let start = match segment.checked_sub(1) {
            Some(previous) => proof.checkpoints[previous as usize],
            None => link.first,
        };
        let Range {
            start: from,
            end: to,
        } = segment_steps(steps, segment);
        let mut hash = start;
        let mut left = to - from;
        while left > 0 {
            let steps = left.min(HASHES_PER_TURN);
            hash = link.advance(hash, steps);
            left -= steps;
            hashed += steps;
            if hashed >= HASHES_PER_TURN {
                hashed = 0;
                tokio::task::yield_now().await;
            }
        }
        if hash != proof.checkpoints[segment as usize] {
            return Err(ProofError::FalseSegment { segment, segments });
        }
    }
    Ok(())
}

/// How many segments a chain is cut into, and so how many checkpoints its proof has.
pub fn segment_count(steps: u64) -> u64 {
    steps.min(CHECKPOINTS_MAX)
}

/// The steps that a segment covers. Lengths differ by one at most.
fn segment_steps(steps: u64, segment: u64) -> Range<u64> {
    let segments = u128::from(segment_count(steps));
    let boundary = |i: u64| (u128::from(steps) * u128::from(i) / segments) as u64;
    boundary(segment)..boundary(segment + 1)
}

/// The next multiple of [`HASHES_PER_TURN`] after `done`.
fn next_turn(done: u64) -> u64 {
    (done / HASHES_PER_TURN + 1).saturating_mul(HASHES_PER_TURN)
}

/// What binds a chain to its input.
struct Link {
    /// The hash of the input.
    first: B256,
}

impl Link {
    fn of(input: &[u8]) -> Self {
        Self {
            first: B256::new(Sha256::digest(input).into()),
        }
    }

    fn advance(&self, from: B256, steps: u64) -> B256 {
        // Short enough for one block of SHA-256, so that a step costs one compression.
        let mut block = [0; HASH_BYTES + KEY_BYTES];
        block[..HASH_BYTES].copy_from_slice(from.as_slice());
        block[HASH_BYTES..].copy_from_slice(&self.first[..KEY_BYTES]);
        for _ in 0..steps {
            let next = Sha256::digest(block);
            block[..HASH_BYTES].copy_from_slice(&next);
        }
        B256::from_slice(&block[..HASH_BYTES])
    }
}

/// The first `samples` of a shuffle of the segments (Fisher–Yates), drawn from SHA-256 of the seed and a counter. The
/// bias of the modulo is below 2⁻⁵⁵.
fn sample_segments(segments: u64, seed: [u8; 32], samples: usize) -> Vec<u64> {
    let mut order: Vec<u64> = (0..segments).collect();
    let samples = samples.min(order.len());
    for i in 0..samples {
        let drawn = Sha256::new()
            .chain_update(seed)
            .chain_update((i as u64).to_be_bytes())
            .finalize();
        let mut word = [0; 8];
        word.copy_from_slice(&drawn[..8]);
        let rest = (order.len() - i) as u64;
        let j = i + (u64::from_be_bytes(word) % rest) as usize;
        order.swap(i, j);
    }
    order.truncate(samples);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::block_on;
    use proptest::prelude::*;

    /// Computed plainly, from the definition.
    fn by_definition(input: &[u8], steps: u64) -> B256 {
        let first = Sha256::digest(input);
        let mut hash = first;
        for _ in 0..steps {
            hash = Sha256::digest([&hash[..], &first[..16]].concat());
        }
        B256::new(hash.into())
    }

    fn run(input: &[u8], steps: u64) -> HashChainProof {
        block_on(execute(input, steps))
    }

    fn verify(
        input: &[u8],
        steps: u64,
        proof: &HashChainProof,
        seed: [u8; 32],
        samples: usize,
    ) -> Result<(), ProofError> {
        block_on(super::verify(input, steps, proof, seed, samples))
    }

    #[test]
    fn the_result_is_the_hash_by_definition() {
        for steps in [1, 2, 255, 256, 257, 1000, 10_000, 25_001] {
            let proof = run(b"input", steps);
            assert_eq!(
                proof.output(),
                Some(by_definition(b"input", steps)),
                "{steps} steps"
            );
            assert_eq!(proof.checkpoints.len() as u64, segment_count(steps));
            verify(b"input", steps, &proof, [1; 32], usize::MAX).unwrap();
        }
    }

    #[test]
    fn limits_are_checked_before_any_hashing() {
        let proof = run(b"", 10);
        let refused = |steps| verify(b"", steps, &proof, [0; 32], 1).unwrap_err();
        assert_eq!(refused(0), ProofError::Steps { steps: 0 });
        assert_eq!(refused(u64::MAX), ProofError::Steps { steps: u64::MAX });
        assert_eq!(
            refused(11),
            ProofError::CheckpointCount {
                found: 10,
                expected: 11
            }
        );
        assert_eq!(
            refused(STEPS_MAX),
            ProofError::CheckpointCount {
                found: 10,
                expected: CHECKPOINTS_MAX
            }
        );
        assert_eq!(
            verify(b"", 10, &proof, [0; 32], 0),
            Err(ProofError::NoSamples)
        );
    }

    #[test]
    fn a_proof_for_another_input_never_passes_in_full() {
        let proof = run(b"mine", 600);
        // Every segment is false, and it names one of them.
        assert!(matches!(
            verify(b"yours", 600, &proof, [0; 32], usize::MAX),
            Err(ProofError::FalseSegment { segments: 256, .. })
        ));
    }

    #[test]
    fn no_segment_of_a_chain_is_true_for_another_input() {
        for steps in [100, 256, 600] {
            let proof = run(b"mine", steps);
            for seed in 0..20 {
                let verified = verify(b"yours", steps, &proof, [seed; 32], 1);
                assert!(verified.is_err(), "{steps} steps, seed {seed}");
            }
        }
    }

    /// The module's page promises 1 − C(n−f, k)/C(n, k); here n = 256, f = 64, k = 4, which gives 0.686.
    #[test]
    fn the_stated_detection_probability_is_met() {
        let honest = run(b"input", 256);
        let mut false_proof = honest.clone();
        // Breaking every eighth checkpoint breaks two segments each: the one that ends and the one that starts there.
        for checkpoint in false_proof.checkpoints.iter_mut().skip(3).step_by(8) {
            checkpoint.0[0] ^= 1;
        }
        let caught = (0u32..2000)
            .filter(|trial| {
                let seed = Sha256::digest(trial.to_be_bytes()).into();
                verify(b"input", 256, &false_proof, seed, 4).is_err()
            })
            .count();
        let expected = 1.0 - (192.0 * 191.0 * 190.0 * 189.0) / (256.0 * 255.0 * 254.0 * 253.0);
        let policy = Policy {
            segments: 4,
            ..Policy::default()
        };
        let stated = 1.0 - HashChain { steps: 256 }.miss_probability(0.25, &policy);
        assert!((stated - expected).abs() < 1e-12, "stated {stated}");
        let measured = caught as f64 / 2000.0;
        // Five standard deviations of 2000 trials.
        assert!(
            (measured - expected).abs() < 0.052,
            "measured {measured}, stated {expected}"
        );
    }

    #[test]
    fn samples_are_distinct_and_differ_by_seed() {
        let a = sample_segments(256, [1; 32], 64);
        let mut distinct = a.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 64);
        assert_ne!(a, sample_segments(256, [2; 32], 64));
        assert_eq!(a, sample_segments(256, [1; 32], 64));
    }

    #[test]
    fn a_long_chain_lets_others_run() {
        use futures::FutureExt;
        // A future that yields is not ready at its first poll.
        assert!(execute(b"", HASHES_PER_TURN * 3).now_or_never().is_none());
        assert!(execute(b"", HASHES_PER_TURN - 1).now_or_never().is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn segments_cover_every_step_once(steps in 1u64..=STEPS_MAX) {
            let mut next = 0;
            for segment in 0..segment_count(steps) {
                let range = segment_steps(steps, segment);
                prop_assert_eq!(range.start, next);
                prop_assert!(range.end > range.start);
                next = range.end;
            }
            prop_assert_eq!(next, steps);
        }

        #[test]
        fn a_changed_checkpoint_is_caught_when_its_segment_is_sampled(
            steps in 1u64..3000,
            position in any::<prop::sample::Index>(),
            bit in 0usize..256,
            seed in any::<[u8; 32]>(),
            samples in 1usize..40,
        ) {
            let mut proof = run(b"input", steps);
            let changed = position.index(proof.checkpoints.len());
            proof.checkpoints[changed].0[bit / 8] ^= 1 << (bit % 8);
            let sampled = sample_segments(segment_count(steps), seed, samples);
            // A checkpoint is the end of its segment and the start of the next.
            let touched = sampled.iter().any(|s| *s == changed as u64 || *s == changed as u64 + 1);
            prop_assert_eq!(verify(b"input", steps, &proof, seed, samples).is_err(), touched);
            prop_assert!(verify(b"input", steps, &proof, seed, usize::MAX).is_err());
        }

        #[test]
        fn an_honest_proof_passes_every_challenge(
            input in prop::collection::vec(any::<u8>(), 0..100),
            steps in 1u64..3000,
            seed in any::<[u8; 32]>(),
            samples in 1usize..300,
        ) {
            prop_assert_eq!(verify(&input, steps, &run(&input, steps), seed, samples), Ok(()));
        }

        #[test]
        fn verification_never_panics(
            steps in any::<u64>(),
            checkpoints in prop::collection::vec(any::<[u8; 32]>().prop_map(B256::new), 0..300),
            samples in any::<usize>(),
        ) {
            // Long honest-looking segments would only cost time.
            prop_assume!(!(100_000..=STEPS_MAX).contains(&steps));
            let _ = verify(b"", steps, &HashChainProof { checkpoints }, [0; 32], samples);
        }
    }
}
