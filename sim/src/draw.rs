//! Values that the simulator itself draws from the seed: keys, victims, moments.
//!
//! Each has a label and depends on nothing but the seed and that label, so that adding one draw changes no other.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// 32 bytes for `label`.
pub fn bytes(seed: u64, label: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"smartnodes-sim\0");
    hasher.update(seed.to_be_bytes());
    hasher.update(label.as_bytes());
    hasher.finalize().into()
}

/// A number from 0 to `count` - 1 for `label`; 0 if `count` is 0.
pub fn below(seed: u64, label: &str, count: u64) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = bytes(seed, label);
    // The high half of the product: even to within one part in 2^64 / count.
    ((u128::from(u64::from_be_bytes([a, b, c, d, e, f, g, h])) * u128::from(count)) >> 64) as u64
}

/// A time from `from` to `to`, both included, in whole milliseconds, for `label`.
pub fn between(seed: u64, label: &str, from: Duration, to: Duration) -> Duration {
    let span_ms = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX - 1);
    from + Duration::from_millis(below(seed, label, span_ms + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_and_label_and_stay_in_bounds() {
        assert_ne!(bytes(1, "a"), bytes(2, "a"));
        assert_ne!(bytes(1, "a"), bytes(1, "b"));
        let mut seen = [0; 7];
        (0..7000).for_each(|seed| seen[below(seed, "victim", 7) as usize] += 1);
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
        let (from, to) = (Duration::from_secs(1), Duration::from_secs(2));
        assert!((0..1000).all(|seed| (from..=to).contains(&between(seed, "at", from, to))));
        assert_eq!(between(3, "at", to, to), to);
    }
}
