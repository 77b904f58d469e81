//! Distributions: emission by era, 85/10/5, claims by proof, expiry.

use std::{collections::BTreeSet, rc::Rc};

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::{SolError, SolValue},
};
use smartnodes_evm::{bindings::SmartnodesERC20 as Token, reward_tree};

use super::{
    book::{Book, Distribution, Note, Pay, Reasons, Refused, Verdict, refuse, sno},
    collateral::downcast,
};

const YEAR: u64 = 365 * 24 * 3_600;
/// Later updates while which a distribution can be claimed.
const CLAIMABLE_UPDATES: u64 = 500;
/// More approving validators than these collect their SNO themselves.
const PAID_AT_ONCE: usize = 100;

/// Emission of an update that pays for `interval` seconds of era `era`.
pub fn emission(era: u64, interval: u64) -> U256 {
    let mut hourly = sno(5_625);
    for _ in 0..era.min(20) {
        hourly = hourly * U256::from(6) / U256::from(10);
    }
    hourly.max(sno(420)) * U256::from(interval) / U256::from(3_600)
}

fn percent(amount: U256, percent: u64) -> U256 {
    amount * U256::from(percent) / U256::from(100)
}

/// The part that came from payments of what is unclaimed: in proportion to the pool.
pub fn payments_in(distribution: &Distribution, unclaimed: U256) -> U256 {
    if distribution.pool.sno.is_zero() {
        U256::ZERO
    } else {
        unclaimed * distribution.payments / distribution.pool.sno
    }
}

/// The hash of a testnet leaf.
pub fn testnet_leaf(account: Address, amount: U256) -> B256 {
    keccak256(keccak256((account, amount).abi_encode()))
}

/// Whether `proof` leads from `leaf` to `root`, each pair sorted.
fn leads_to(root: B256, leaf: B256, proof: &[B256]) -> bool {
    root == proof.iter().fold(leaf, |node, sibling| {
        let (low, high) = if node < *sibling {
            (node, *sibling)
        } else {
            (*sibling, node)
        };
        keccak256([low, high].concat())
    })
}

impl Book {
    pub fn era(&self, time: u64) -> u64 {
        (time - self.place.start) / YEAR
    }

    pub fn can_distribute(&self, root: B256, total_capacity: U256) -> Verdict {
        Reasons::default()
            .when(
                root.is_zero() != total_capacity.is_zero(),
                Token::Token__InvalidMerkleRoot {},
            )
            .when(
                total_capacity.bit_len() > 112,
                downcast(112, total_capacity),
            )
            .verdict()
    }

    /// Pays the update of a period of `interval` seconds.
    pub fn distribute(
        &mut self,
        root: B256,
        total_capacity: U256,
        voters: &BTreeSet<Address>,
        interval: u64,
    ) -> Option<Note> {
        let (token, treasury) = (self.place.token, self.place.timelock);
        let emitted = emission(self.era(self.now - interval), interval);
        let work = !total_capacity.is_zero();
        let payments = if work {
            std::mem::take(&mut self.released)
        } else {
            Pay::default()
        };

        let pool = Pay {
            sno: emitted + payments.sno,
            eth: payments.eth,
        };
        let workers = Pay {
            sno: percent(pool.sno, 85),
            eth: percent(pool.eth, 85),
        };
        let workers_payments = percent(payments.sno, 85);
        let minted = emitted - (workers.sno - workers_payments);
        self.minted_by_updates += minted;
        self.mint(token, minted);
        let workers_pool = if work { workers } else { Pay::default() };
        self.distributions.push(Distribution {
            root,
            total_capacity,
            pool: workers_pool,
            payments: if work { workers_payments } else { U256::ZERO },
            left: workers_pool,
            claimed: Rc::default(),
            made_at: self.now,
        });

        let count = U256::from(voters.len());
        let each = Pay {
            sno: percent(pool.sno, 10) / count,
            eth: percent(pool.eth, 10) / count,
        };
        for voter in voters {
            if voters.len() > PAID_AT_ONCE {
                self.account_mut(*voter).credit.sno += each.sno;
            } else {
                self.move_sno(token, *voter, each.sno);
            }
            self.account_mut(*voter).credit.eth += each.eth;
        }

        let mut rest = Pay {
            sno: pool.sno - workers.sno - each.sno * count,
            eth: pool.eth - workers.eth - each.eth * count,
        };
        let expired = self.expire();
        if let Some((_, unclaimed)) = expired {
            rest.sno += unclaimed.sno;
            rest.eth += unclaimed.eth;
        }
        self.move_sno(token, treasury, rest.sno);
        self.pay_eth(treasury, rest.eth);
        self.record_votes();
        expired.map(|(id, _)| Note::Expired(id))
    }

    /// Ends the distribution that has had its 500 later updates; what payments left in it is the treasury's.
    fn expire(&mut self) -> Option<(u64, Pay)> {
        let id = (self.distributions.len() as u64).checked_sub(CLAIMABLE_UPDATES + 1)?;
        let distribution = self.distributions.get_mut(id.checked_sub(1)? as usize)?;
        if distribution.root.is_zero() {
            return None;
        }
        let rest = Pay {
            sno: payments_in(distribution, distribution.left.sno),
            eth: distribution.left.eth,
        };
        distribution.left = Pay::default();
        Some((id, rest))
    }

    fn can_claim(
        &self,
        account: Address,
        id: U256,
        capacity: U256,
        proof: &[B256],
    ) -> Verdict<(usize, Pay)> {
        let last = self.distributions.len() as u64;
        let Some(place) = id.try_into().ok().and_then(|id: u64| {
            let place = id.checked_sub(1)?;
            (id <= last).then_some(place as usize)
        }) else {
            return Err(refuse(Token::Token__UnknownDistribution {}));
        };
        if place as u64 + 1 + CLAIMABLE_UPDATES < last {
            return Err(refuse(Token::Token__DistributionTooOld {}));
        }
        let distribution = &self.distributions[place];
        if distribution.root.is_zero() {
            return Err(refuse(Token::Token__UnknownDistribution {}));
        }
        let total = distribution.total_capacity;
        // Not for a capacity beyond the total, with which this could overflow.
        let part = |amount: U256| {
            if capacity > total {
                U256::ZERO
            } else {
                amount * capacity / total
            }
        };
        let reward = Pay {
            sno: part(distribution.pool.sno),
            eth: part(distribution.pool.eth),
        };
        Reasons::default()
            .when(
                distribution.claimed.contains(&account),
                Token::Token__RewardsAlreadyClaimed {},
            )
            .when(
                !reward_tree::verify(
                    distribution.root,
                    account,
                    capacity,
                    place as u64 + 1,
                    proof,
                ),
                Token::Token__InvalidMerkleProof {},
            )
            .when(
                capacity > total
                    || reward.sno > distribution.left.sno
                    || reward.eth > distribution.left.eth,
                Token::Token__DistributionExhausted {},
            )
            .verdict()?;
        Ok((place, reward))
    }

    pub fn claim(&mut self, account: Address, id: U256, capacity: U256, proof: &[B256]) -> Verdict {
        let (place, reward) = self.can_claim(account, id, capacity, proof)?;
        let distribution = &mut self.distributions[place];
        let before = payments_in(distribution, distribution.left.sno);
        distribution.left.sno -= reward.sno;
        distribution.left.eth -= reward.eth;
        let handed_on = before - payments_in(distribution, distribution.left.sno);
        Rc::make_mut(&mut distribution.claimed).insert(account);
        self.minted_by_claims += reward.sno - handed_on;
        self.mint(account, reward.sno - handed_on);
        self.move_sno(self.place.token, account, handed_on);
        self.pay_eth(account, reward.eth);
        Ok(())
    }

    pub fn claim_batch(
        &mut self,
        account: Address,
        call: &Token::batchClaimMerkleRewardsCall,
    ) -> Verdict<Vec<Note>> {
        let count = call.distributionIds.len();
        if count == 0 || count != call.capacities.len() || count != call.proofs.len() {
            return Err(refuse(Token::Token__InvalidArrayLength {}));
        }
        let mut failed = Vec::new();
        for ((id, capacity), proof) in
            (call.distributionIds.iter().zip(&call.capacities)).zip(&call.proofs)
        {
            if let Err(Refused(reasons)) = self.claim(account, *id, *capacity, proof) {
                let texts = reasons.iter().map(|reason| claim_failure(reason)).collect();
                failed.push(Note::ClaimFailed(*id, texts));
            }
        }
        Ok(failed)
    }

    pub fn claim_testnet(&mut self, account: Address, amount: U256, proof: &[B256]) -> Verdict {
        let left = self.place.testnet_total - self.testnet_minted;
        let leaf = testnet_leaf(account, amount);
        Reasons::default()
            .when(
                self.place.testnet_root.is_zero(),
                Token::Token__InvalidMerkleRoot {},
            )
            .when(
                self.account(account).testnet_claimed,
                Token::Token__RewardsAlreadyClaimed {},
            )
            .when(
                !leads_to(self.place.testnet_root, leaf, proof),
                Token::Token__InvalidMerkleProof {},
            )
            .when(amount > left, Token::Token__DistributionExhausted {})
            .verdict()?;
        self.account_mut(account).testnet_claimed = true;
        self.testnet_minted += amount;
        self.mint(account, amount);
        Ok(())
    }
}

/// How an entry of a batch is reported.
fn claim_failure(reason: &[u8]) -> &'static str {
    let texts = [
        (
            Token::Token__UnknownDistribution::SELECTOR,
            "unknown distribution",
        ),
        (Token::Token__DistributionTooOld::SELECTOR, "expired"),
        (
            Token::Token__RewardsAlreadyClaimed::SELECTOR,
            "already claimed",
        ),
        (Token::Token__InvalidMerkleProof::SELECTOR, "invalid proof"),
        (Token::Token__DistributionExhausted::SELECTOR, "exhausted"),
    ];
    let text = texts
        .iter()
        .find(|(selector, _)| reason.starts_with(selector));
    text.map_or("of another kind", |(_, text)| text)
}
