//! The primes of a range, by the segmented sieve of Eratosthenes.
//!
//! Input: two numbers, from (inclusive) and to (exclusive), at most 2^40 and at most 2^20 apart. Output: the primes in
//! between, ascending; at most 8,192 of them, which is what an output can hold.
#![no_std]
#![no_main]

#[path = "../abi.rs"]
mod abi;

const TO_MAX: u64 = 1 << 40;
const SPAN_MAX: u64 = 1 << 20;
const PRIMES_MAX: usize = 8_192;

fn main(input: &[u8]) -> &'static [u8] {
    let mut numbers = abi::numbers(input);
    let (from, to) = match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(from), Some(to), None) => (from.max(2), to),
        _ => panic!("the input is not two numbers"),
    };
    assert!(to <= TO_MAX && to.saturating_sub(from) <= SPAN_MAX, "the range is too large");
    let composite = abi::zeroed::<u8>(to.saturating_sub(from) as usize);
    let mut divisor = 2;
    while divisor * divisor < to {
        // Composite divisors cross out nothing new, and to sieve them out as well takes more memory than it saves.
        if divisor == 2 || divisor % 2 == 1 {
            let first = ((from + divisor - 1) / divisor).max(divisor) * divisor;
            let mut multiple = first;
            while multiple < to {
                composite[(multiple - from) as usize] = 1;
                multiple += divisor;
            }
        }
        divisor += 1;
    }
    let output = abi::zeroed::<u8>(PRIMES_MAX * 8);
    let mut used = 0;
    for (offset, _) in composite.iter().enumerate().filter(|(_, composite)| **composite == 0) {
        assert!(used < output.len(), "more primes than an output can hold");
        output[used..used + 8].copy_from_slice(&(from + offset as u64).to_le_bytes());
        used += 8;
    }
    &output[..used]
}
