//! Log blooms, with the hashes of recurring addresses and topics remembered.
//!
//! A bloom hashes each address and topic of a log. The same contracts, events and accounts come again and again, and
//! hashing them anew would cost as much as all the hashing that the contracts themselves do.

use alloy::primitives::{Address, B256, Bloom, Log, keccak256};
use revm::primitives::{AddressMap, B256Map};

/// Entries kept of each kind; beyond them the memory starts afresh.
const ENTRIES_MAX: usize = 4_096;

/// The three bits that a value sets in a bloom, as their numbers.
type Bits = [u16; 3];

/// Builds blooms and remembers the bits of what it has seen.
#[derive(Debug, Default)]
pub(super) struct Blooms {
    addresses: AddressMap<Bits>,
    topics: B256Map<Bits>,
}

impl Blooms {
    /// The bloom of one transaction's logs.
    pub(super) fn of(&mut self, logs: &[Log]) -> Bloom {
        let mut bloom = Bloom::ZERO;
        for log in logs {
            set(&mut bloom, self.address_bits(log.address));
            for topic in log.topics() {
                set(&mut bloom, self.topic_bits(*topic));
            }
        }
        bloom
    }

    fn address_bits(&mut self, address: Address) -> Bits {
        if self.addresses.len() >= ENTRIES_MAX {
            self.addresses.clear();
        }
        *self
            .addresses
            .entry(address)
            .or_insert_with(|| bits(address.as_slice()))
    }

    fn topic_bits(&mut self, topic: B256) -> Bits {
        if self.topics.len() >= ENTRIES_MAX {
            self.topics.clear();
        }
        *self
            .topics
            .entry(topic)
            .or_insert_with(|| bits(topic.as_slice()))
    }
}

/// The low eleven bits of the first three pairs of bytes of the value's hash.
fn bits(value: &[u8]) -> Bits {
    let hash = keccak256(value);
    [0, 2, 4].map(|at| u16::from_be_bytes([hash[at], hash[at + 1]]) & 0x7ff)
}

fn set(bloom: &mut Bloom, bits: Bits) {
    for bit in bits {
        // Bit 0 is the lowest of the last byte.
        bloom.0[255 - usize::from(bit / 8)] |= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blooms_are_those_of_the_standard() {
        let mut blooms = Blooms::default();
        // Enough to make the memory start afresh.
        let logs: Vec<Log> = (0..=ENTRIES_MAX as u64)
            .map(|n| {
                let topics = vec![keccak256([7]), keccak256(n.to_be_bytes())];
                Log::new_unchecked(
                    Address::from_word(keccak256(n.to_le_bytes())),
                    topics,
                    Default::default(),
                )
            })
            .collect();
        for log in logs.iter().chain(&logs[..3]) {
            let mut expected = Bloom::ZERO;
            expected.accrue_log(log);
            assert_eq!(blooms.of(std::slice::from_ref(log)), expected);
        }
        let mut all = Bloom::ZERO;
        logs[..5].iter().for_each(|log| all.accrue_log(log));
        assert_eq!(blooms.of(&logs[..5]), all);
    }
}
