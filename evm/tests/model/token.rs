//! SNO as an ERC-20 with permits and votes, ETH that the token holds for others, donations.

use alloy::{
    primitives::{Address, B256, Signature, U256},
    sol,
    sol_types::{Eip712Domain, SolStruct, eip712_domain},
};
use smartnodes_evm::bindings::SmartnodesERC20 as Token;

use super::book::{Book, Reasons, Verdict, refuse};

sol! {
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }

    struct Delegation {
        address delegatee;
        uint256 nonce;
        uint256 expiry;
    }
}

/// What a signature for the token is bound to.
pub fn domain(chain_id: u64, token: Address) -> Eip712Domain {
    eip712_domain! {
        name: "Smartnodes",
        version: "1",
        chain_id: chain_id,
        verifying_contract: token,
    }
}

impl Book {
    /// Votes of an account: the holdings, locked ones included, of all who delegate to it.
    pub fn votes(&self, of: Address) -> U256 {
        if of.is_zero() {
            return U256::ZERO;
        }
        let delegators = self.accounts.values().filter(|a| a.delegate == of);
        delegators
            .map(|a| a.sno + a.locks.iter().flatten().map(|l| l.amount).sum::<U256>())
            .sum()
    }

    /// Notes the supply as the total of the votes.
    pub fn record_votes(&mut self) {
        let (time, last, before) = self.votes_recorded;
        let before = if time == self.now { before } else { last };
        self.votes_recorded = (self.now, self.supply, before);
    }

    /// The total of the votes a second ago.
    pub fn past_total_votes(&self) -> U256 {
        let (time, last, before) = self.votes_recorded;
        if time < self.now { last } else { before }
    }

    /// Moves SNO that is there.
    pub fn move_sno(&mut self, from: Address, to: Address, amount: U256) {
        self.account_mut(from).sno -= amount;
        self.account_mut(to).sno += amount;
    }

    pub fn mint(&mut self, to: Address, amount: U256) {
        self.account_mut(to).sno += amount;
        self.supply += amount;
    }

    pub fn accepts_eth(&self, to: Address) -> bool {
        let place = &self.place;
        !place.refusing.contains(&to) && to != place.core && to != place.coordinator
    }

    /// Sends ETH of the token, or keeps it for a receiver that refuses.
    pub fn pay_eth(&mut self, to: Address, amount: U256) {
        if self.accepts_eth(to) {
            self.move_eth(self.place.token, to, amount);
        } else {
            self.account_mut(to).credit.eth += amount;
        }
    }

    pub fn move_eth(&mut self, from: Address, to: Address, amount: U256) {
        self.account_mut(from).eth -= amount;
        self.account_mut(to).eth += amount;
    }

    fn can_transfer(&self, from: Address, to: Address, value: U256) -> Verdict {
        let balance = self.account(from).sno;
        Reasons::default()
            .when(to == self.place.token, Token::Token__InvalidAddress {})
            .when(to.is_zero(), Token::ERC20InvalidReceiver { receiver: to })
            .when(
                balance < value,
                Token::ERC20InsufficientBalance {
                    sender: from,
                    balance,
                    needed: value,
                },
            )
            .verdict()
    }

    pub fn transfer(&mut self, from: Address, to: Address, value: U256) -> Verdict {
        self.can_transfer(from, to, value)?;
        self.move_sno(from, to, value);
        Ok(())
    }

    pub fn transfer_from(
        &mut self,
        spender: Address,
        from: Address,
        to: Address,
        value: U256,
    ) -> Verdict {
        let key = (from, spender);
        let allowance = self.allowances.get(&key).copied().unwrap_or_default();
        Reasons::default()
            .when(
                allowance < value,
                Token::ERC20InsufficientAllowance {
                    spender,
                    allowance,
                    needed: value,
                },
            )
            .also(self.can_transfer(from, to, value))
            .verdict()?;
        if allowance != U256::MAX {
            self.allowances.insert(key, allowance - value);
        }
        self.move_sno(from, to, value);
        Ok(())
    }

    pub fn approve(&mut self, owner: Address, spender: Address, value: U256) -> Verdict {
        if spender.is_zero() {
            return Err(refuse(Token::ERC20InvalidSpender { spender }));
        }
        self.allowances.insert((owner, spender), value);
        Ok(())
    }

    pub fn permit(&mut self, call: &Token::permitCall) -> Verdict {
        let permit = Permit {
            owner: call.owner,
            spender: call.spender,
            value: call.value,
            nonce: U256::from(self.account(call.owner).nonce),
            deadline: call.deadline,
        };
        let signer = self.signer_of(&permit, (call.v, call.r, call.s));
        Reasons::default()
            .when(
                U256::from(self.now) > call.deadline,
                Token::ERC2612ExpiredSignature {
                    deadline: call.deadline,
                },
            )
            .when(
                signer != call.owner,
                Token::ERC2612InvalidSigner {
                    signer,
                    owner: call.owner,
                },
            )
            .when(
                call.spender.is_zero(),
                Token::ERC20InvalidSpender {
                    spender: call.spender,
                },
            )
            .verdict()?;
        self.account_mut(call.owner).nonce += 1;
        self.approve(call.owner, call.spender, call.value)
    }

    pub fn delegate(&mut self, from: Address, to: Address) {
        self.account_mut(from).delegate = to;
    }

    pub fn delegate_by_sig(&mut self, call: &Token::delegateBySigCall) -> Verdict {
        let delegation = Delegation {
            delegatee: call.delegatee,
            nonce: call.nonce,
            expiry: call.expiry,
        };
        let signer = self.signer_of(&delegation, (call.v, call.r, call.s));
        let nonce = U256::from(self.account(signer).nonce);
        Reasons::default()
            .when(
                U256::from(self.now) > call.expiry,
                Token::VotesExpiredSignature {
                    expiry: call.expiry,
                },
            )
            .when(
                nonce != call.nonce,
                Token::InvalidAccountNonce {
                    account: signer,
                    currentNonce: nonce,
                },
            )
            .verdict()?;
        self.account_mut(signer).nonce += 1;
        self.delegate(signer, call.delegatee);
        Ok(())
    }

    /// Whose signature it is; actions only make signatures that are somebody's.
    fn signer_of<S: SolStruct>(&self, message: &S, (v, r, s): (u8, B256, B256)) -> Address {
        let digest = message.eip712_signing_hash(&domain(self.place.chain_id, self.place.token));
        Signature::new(r.into(), s.into(), v == 28)
            .recover_address_from_prehash(&digest)
            .expect("a signature of somebody")
    }

    pub fn donate(&mut self, from: Address, amount: U256) {
        self.move_eth(from, self.place.token, amount);
        self.eth_deposited += amount;
    }

    pub fn withdraw_eth(&mut self, from: Address, to: Address) -> Verdict {
        let amount = self.account(from).credit.eth;
        Reasons::default()
            .when(amount.is_zero(), Token::Token__InsufficientBalance {})
            .when(!self.accepts_eth(to), Token::Token__ETHTransferFailed {})
            .verdict()?;
        self.account_mut(from).credit.eth = U256::ZERO;
        self.move_eth(self.place.token, to, amount);
        if to == self.place.token {
            self.eth_deposited += amount;
        }
        Ok(())
    }

    pub fn withdraw_sno(&mut self, from: Address) -> Verdict {
        let amount = self.account(from).credit.sno;
        if amount.is_zero() {
            return Err(refuse(Token::Token__InsufficientBalance {}));
        }
        self.account_mut(from).credit.sno = U256::ZERO;
        self.move_sno(self.place.token, from, amount);
        Ok(())
    }

    pub fn sweep_donations(&mut self) -> Verdict {
        let donated = self.account(self.place.token).eth - self.owed_eth();
        if donated.is_zero() {
            return Err(refuse(Token::Token__InsufficientBalance {}));
        }
        self.move_eth(self.place.token, self.place.timelock, donated);
        Ok(())
    }
}
