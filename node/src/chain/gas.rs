//! How much gas a transaction is given.
//!
//! Gas is estimated on the state and at the time of the last block, and the transaction runs on a later one. What may
//! differ there is known for each intent, and is allowed for: gas that is not used costs nothing.

use super::intent::Intent;

/// The most gas that a transaction may have (EIP-7825).
const GAS_MAX: u64 = 16_777_216;
/// What is allowed beyond any estimate, in per cent, and at least so many units: some storage slots that were filled
/// before may be empty ones, at 17,100 more each. A proposal that becomes the round's second fills two of them.
const MARGIN_PERCENT: u64 = 25;
const MARGIN_MIN: u64 = 50_000;
/// An execution pays each voter. From the threshold, which may be little above one half, all the others may join.
const EXECUTE_MARGIN_PERCENT: u64 = 100;
/// `openRound` seals or draws, whichever is due when it is mined, and estimated for a seal it is too little for a draw,
/// which grows with the set: by 11,100 for each validator, from 120,000 (`evm/gas.snap`).
const DRAW_BASE: u64 = 200_000;
const DRAW_PER_VALIDATOR: u64 = 14_000;

/// The gas limit for `intent`, whose estimate is `estimate`, where there are `validators`.
pub(super) fn gas_limit(intent: &Intent, estimate: u64, validators: u64) -> u64 {
    let percent = match intent {
        Intent::Execute { .. } => EXECUTE_MARGIN_PERCENT,
        _ => MARGIN_PERCENT,
    };
    let margin = (estimate.saturating_mul(percent) / 100).max(MARGIN_MIN);
    let mut limit = estimate.saturating_add(margin);
    if matches!(intent, Intent::OpenRound { .. }) {
        let draw = DRAW_BASE.saturating_add(DRAW_PER_VALIDATOR.saturating_mul(validators));
        limit = limit.max(draw);
    }
    limit.min(GAS_MAX).max(estimate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_has_the_gas_for_a_draw() {
        let open = Intent::OpenRound { round: 1 };
        // The figures of evm/gas.snap: seal, and draw among 3, 100 and 300.
        for (validators, draw) in [(3, 152_529), (100, 1_228_386), (300, 3_321_606)] {
            assert!(gas_limit(&open, 39_712, validators) > draw);
        }
        assert!(gas_limit(&open, 39_712, u64::MAX) <= GAS_MAX);
    }

    #[test]
    fn no_limit_is_below_the_estimate_or_beyond_what_a_transaction_may_have() {
        let vote = Intent::Vote {
            round: 1,
            number: 1,
            hash: Default::default(),
        };
        assert_eq!(gas_limit(&vote, 52_864, 3), 102_864);
        assert_eq!(gas_limit(&vote, 400_000, 3), 500_000);
        assert_eq!(gas_limit(&vote, 16_000_000, 3), GAS_MAX);
        // A chain with another rule has the last word.
        assert_eq!(gas_limit(&vote, 20_000_000, 3), 20_000_000);
        assert_eq!(gas_limit(&vote, u64::MAX, 3), u64::MAX);
    }
}
