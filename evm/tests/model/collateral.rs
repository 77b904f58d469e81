//! Collateral: lock, unlock 30 days after the request, top up after a raise, slash.

use alloy::{
    primitives::{Address, U256},
    sol_types::SolError,
};
use smartnodes_evm::bindings::SmartnodesERC20 as Token;

use super::book::{Book, Lock, Reasons, Requirement, Verdict, sno};

const DAY: u64 = 24 * 3_600;
const UNLOCK_SECONDS: u64 = 30 * DAY;
const TOP_UP_SECONDS: u64 = 30 * DAY;

impl Requirement {
    /// What those already locked must hold.
    pub fn enforced(&self, now: u64) -> U256 {
        let (before, until) = self.before;
        if now < until {
            self.amount.min(before)
        } else {
            self.amount
        }
    }
}

impl Book {
    /// Whether there is collateral that nobody asked to unlock.
    pub fn is_locked(&self, account: Address, validator: bool) -> bool {
        let lock = self.account(account).locks[usize::from(validator)];
        lock.is_some_and(|lock| lock.unlock_at.is_none())
    }

    pub fn has_sufficient_collateral(&self, account: Address, validator: bool) -> bool {
        let kind = usize::from(validator);
        let enforced = self.requirements[kind].enforced(self.now);
        let lock = self.account(account).locks[kind];
        lock.is_some_and(|lock| lock.unlock_at.is_none() && lock.amount >= enforced)
    }

    pub fn can_lock(&self, account: Address, validator: bool) -> Verdict {
        let kind = usize::from(validator);
        let known = self.account(account);
        Reasons::default()
            .when(known.locks[kind].is_some(), Token::Token__AlreadyLocked {})
            .when(
                known.sno < self.requirements[kind].amount,
                Token::Token__InsufficientBalance {},
            )
            .verdict()
    }

    pub fn lock(&mut self, account: Address, validator: bool) {
        let kind = usize::from(validator);
        let amount = self.requirements[kind].amount;
        self.move_sno(account, self.place.token, amount);
        let account_mut = self.account_mut(account);
        account_mut.locks[kind] = Some(Lock {
            amount,
            unlock_at: None,
        });
        account_mut.was_validator |= validator;
        if validator && account_mut.delegate.is_zero() {
            account_mut.delegate = account;
        }
    }

    pub fn can_unlock(&self, account: Address, validator: bool) -> Verdict {
        let lock = self.account(account).locks[usize::from(validator)];
        let waits = lock.and_then(|lock| lock.unlock_at);
        Reasons::default()
            .when(lock.is_none(), Token::Token__NotLocked {})
            .when(
                waits.is_some_and(|at| self.now < at),
                Token::Token__UnlockPending {},
            )
            .verdict()
    }

    /// Asks for the collateral, or pays it out.
    pub fn unlock(&mut self, account: Address, validator: bool) {
        let (now, token) = (self.now, self.place.token);
        let lock = &mut self.account_mut(account).locks[usize::from(validator)];
        match lock {
            Some(
                asked @ Lock {
                    unlock_at: None, ..
                },
            ) => {
                asked.unlock_at = Some(now + UNLOCK_SECONDS);
            }
            Some(Lock { amount, .. }) => {
                let amount = *amount;
                *lock = None;
                self.move_sno(token, account, amount);
            }
            None => {}
        }
    }

    pub fn top_up(&mut self, account: Address, validator: bool) -> Verdict {
        let kind = usize::from(validator);
        let known = self.account(account);
        let asked = self.requirements[kind].amount;
        let lock = known.locks[kind];
        let has = lock.map_or(U256::ZERO, |lock| lock.amount);
        let missing = asked.saturating_sub(has);
        Reasons::default()
            .when(lock.is_none(), Token::Token__NotLocked {})
            .when(
                lock.is_some_and(|lock| lock.unlock_at.is_some()),
                Token::Token__UnlockPending {},
            )
            .when(
                lock.is_some() && missing.is_zero(),
                Token::Token__AlreadyLocked {},
            )
            .when(known.sno < missing, Token::Token__InsufficientBalance {})
            .verdict()?;
        self.move_sno(account, self.place.token, missing);
        self.account_mut(account).locks[kind] = Some(Lock {
            amount: asked,
            unlock_at: None,
        });
        Ok(())
    }

    pub fn slash(&mut self, from: Address, validator: Address, amount: U256) -> Verdict {
        let lock = self.account(validator).locks[1];
        let mut reasons = Reasons::default();
        reasons.when(from != self.place.timelock, Token::Token__OnlyDAO {});
        let Some(Lock {
            amount: held,
            unlock_at,
        }) = lock
        else {
            return reasons.when(true, Token::Token__NotValidator {}).verdict();
        };
        reasons.verdict()?;
        let slashed = amount.min(held);
        let at = unlock_at.unwrap_or(self.now + UNLOCK_SECONDS);
        self.account_mut(validator).locks[1] = (slashed < held).then_some(Lock {
            amount: held - slashed,
            unlock_at: Some(at),
        });
        self.account_mut(self.place.token).sno -= slashed;
        self.supply -= slashed;
        self.burned += slashed;
        self.record_votes();
        self.retire_validator(validator);
        Ok(())
    }

    pub fn set_lock_amount(&mut self, from: Address, validator: bool, amount: U256) -> Verdict {
        let kind = usize::from(validator);
        Reasons::default()
            .when(from != self.place.timelock, Token::Token__OnlyDAO {})
            .when(
                amount < sno(1) || amount > sno(10_000_000),
                Token::Token__InvalidLockAmount {},
            )
            .verdict()?;
        let enforced = self.requirements[kind].enforced(self.now);
        self.requirements[kind] = Requirement {
            amount,
            before: (enforced, self.now + TOP_UP_SECONDS),
        };
        Ok(())
    }
}

/// A number with more than `bits` bits.
pub fn downcast(bits: u8, value: U256) -> impl SolError {
    Token::SafeCastOverflowedUintDowncast { bits, value }
}
