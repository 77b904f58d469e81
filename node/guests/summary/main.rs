//! How many numbers there are, the smallest, the largest and their sum.
//!
//! Input: at least one number, for instance the output of `primes`. Output: these four. A sum beyond 2^64 is refused.
#![no_std]
#![no_main]

#[path = "../abi.rs"]
mod abi;

fn main(input: &[u8]) -> &'static [u8] {
    let (mut count, mut smallest, mut largest, mut sum) = (0u64, u64::MAX, 0, 0u64);
    for number in abi::numbers(input) {
        count += 1;
        smallest = smallest.min(number);
        largest = largest.max(number);
        sum = sum.checked_add(number).expect("the sum is too large");
    }
    assert!(count > 0, "there are no numbers");
    let output = abi::zeroed::<u8>(32);
    for (place, number) in output.chunks_exact_mut(8).zip([count, smallest, largest, sum]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    output
}
