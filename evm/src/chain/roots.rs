//! Merkle-Patricia roots of a block's transactions and receipts.

use alloy::{
    consensus::proofs::ordered_trie_root_with_encoder,
    primitives::{B256, keccak256},
    rlp::{Encodable, Header},
};

/// Path of the only item's leaf: its key is the RLP of index 0, the single byte 0x80; 0x20 marks a leaf with an even path.
const ONLY_LEAF_PATH: [u8; 2] = [0x20, 0x80];

/// The root of the trie from each item's index to its encoding, as `transactionsRoot` and `receiptsRoot` have it.
pub(super) fn ordered_root<T>(items: &[T], encode: impl Fn(&T, &mut Vec<u8>)) -> B256 {
    match items {
        // Most blocks hold one transaction; their trie is a single leaf, which needs no builder.
        [only] => {
            let mut value = Vec::with_capacity(1_024);
            encode(only, &mut value);
            let (path, value) = (ONLY_LEAF_PATH.as_slice(), value.as_slice());
            let list = Header {
                list: true,
                payload_length: path.length() + value.length(),
            };
            let mut leaf = Vec::with_capacity(list.length_with_payload());
            list.encode(&mut leaf);
            path.encode(&mut leaf);
            value.encode(&mut leaf);
            keccak256(leaf)
        }
        _ => ordered_trie_root_with_encoder(items, encode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_item_has_the_root_of_its_trie() {
        // Encodings of transactions and receipts have 32 bytes and more; shorter nodes would not be hashed.
        for length in [40, 55, 56, 300, 70_000] {
            let item = vec![0xab; length];
            let expected =
                ordered_trie_root_with_encoder(std::slice::from_ref(&item), |item, out| {
                    out.extend_from_slice(item);
                });
            assert_eq!(
                ordered_root(&[item], |item, out| out.extend_from_slice(item)),
                expected
            );
        }
    }
}
