//! What the contracts' views must answer, from the rule book's state.

use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolCall,
};
use smartnodes_evm::bindings::{
    ISmartnodesERC20, SmartnodesCoordinator as Coordinator, SmartnodesCore as Core,
    SmartnodesERC20 as Token,
};

use super::{
    book::{Book, Lock, Pay},
    rewards::emission,
    rounds::Phase,
};

/// A view's call and the answer that it must give.
pub struct Expectation {
    pub target: Address,
    pub call: Vec<u8>,
    pub answer: Vec<u8>,
    function: &'static str,
    about: Option<Address>,
    show: fn(&[u8]) -> String,
}

impl Expectation {
    /// What differs, in words.
    pub fn difference(&self, actual: &[u8]) -> String {
        let about = self
            .about
            .map(|about| format!(" of {about}"))
            .unwrap_or_default();
        format!(
            "{}{about}: expected {}, the chain says {}",
            self.function,
            (self.show)(&self.answer),
            (self.show)(actual)
        )
    }
}

/// The views to compare.
pub struct Expectations<'a> {
    book: &'a Book,
    pub list: Vec<Expectation>,
}

impl<'a> Expectations<'a> {
    pub fn new(book: &'a Book) -> Self {
        Self {
            book,
            list: Vec::new(),
        }
    }

    fn push<C: SolCall>(
        &mut self,
        target: Address,
        about: Option<Address>,
        call: C,
        answer: &C::Return,
    ) where
        C::Return: std::fmt::Debug,
    {
        self.list.push(Expectation {
            target,
            call: call.abi_encode(),
            answer: C::abi_encode_returns(answer),
            function: C::SIGNATURE,
            about,
            show: |bytes| match C::abi_decode_returns(bytes) {
                Ok(answer) => format!("{answer:?}"),
                Err(_) => alloy::hex::encode_prefixed(bytes),
            },
        });
    }

    fn token<C: SolCall>(&mut self, call: C, answer: &C::Return)
    where
        C::Return: std::fmt::Debug,
    {
        self.push(self.book.place.token, None, call, answer);
    }

    fn core<C: SolCall>(&mut self, call: C, answer: &C::Return)
    where
        C::Return: std::fmt::Debug,
    {
        self.push(self.book.place.core, None, call, answer);
    }

    fn coordinator<C: SolCall>(&mut self, call: C, answer: &C::Return)
    where
        C::Return: std::fmt::Debug,
    {
        self.push(self.book.place.coordinator, None, call, answer);
    }

    /// The round, its proposals, the schedule: what also changes by time alone.
    pub fn round(mut self) -> Self {
        let book = self.book;
        let (open, schedule) = (book.open(), book.schedule);
        let phase = match book.phase() {
            Phase::Waiting => 0,
            Phase::Due => 1,
            Phase::Sealed => 2,
            Phase::Drawable => 3,
            Phase::Open => 4,
        };
        self.coordinator(
            Coordinator::roundStatusCall {},
            &Coordinator::RoundStatus {
                round: book.round,
                phase,
                dueTime: schedule.due,
                openedAt: open.map_or(0, |open| open.opened_at),
                expiresAt: open.map_or(0, |open| open.expires_at),
                snapshotCount: open.map_or(0, |open| open.snapshot.len() as u64),
                requiredApprovals: open.map_or(0, |open| open.required() as u64),
                proposalCount: open.map_or(0, |open| open.proposals.len() as u8),
                nextDistributionId: book.distributions.len() as u64 + 1,
                updateInterval: schedule.interval,
            },
        );
        let proposals = open.map_or(Vec::new(), |open| {
            (1..)
                .zip(&open.proposals)
                .map(|(number, proposal)| Coordinator::ProposalInfo {
                    creator: proposal.creator,
                    proposalNum: number,
                    votes: open.votes_for(number) as u32,
                    proposalHash: proposal.hash,
                    createdAt: proposal.created_at,
                })
                .collect()
        });
        self.coordinator(Coordinator::getProposalsCall {}, &proposals);
        let proposers = open.map_or(Vec::new(), |open| open.proposers.clone());
        self.coordinator(Coordinator::getCurrentRoundValidatorsCall {}, &proposers);
        self.coordinator(
            Coordinator::getValidatorCountCall {},
            &U256::from(book.members.len()),
        );
        self.coordinator(Coordinator::approvalPercentageCall {}, &schedule.percent);
        let era = book.era(book.now);
        self.token(Token::getCurrentEraCall {}, &U256::from(era));
        self
    }

    /// The token's totals and Core's registries.
    pub fn totals(mut self) -> Self {
        let book = self.book;
        let (escrow, unclaimed, credits) = (book.escrow(None), book.unclaimed(), book.credits());
        let held = book.account(book.place.token);
        let schedule_interval = book.schedule.interval;
        self.token(Token::totalSupplyCall {}, &book.supply);
        self.token(
            Token::getSupplyTermsCall {},
            &Token::getSupplyTermsReturn {
                genesis: book.genesis,
                mintedByUpdates: book.minted_by_updates,
                mintedByClaims: book.minted_by_claims,
                testnet: book.testnet_minted,
                burned: book.burned,
            },
        );
        self.token(
            Token::balanceOfCall {
                account: book.place.token,
            },
            &held.sno,
        );
        self.token(Token::s_totalLockedCall {}, &book.locked());
        self.token(
            Token::s_totalEscrowedCall {},
            &Token::s_totalEscrowedReturn {
                sno: escrow.sno.to(),
                eth: escrow.eth.to(),
            },
        );
        self.token(
            Token::s_releasedCall {},
            &Token::s_releasedReturn {
                sno: book.released.sno.to(),
                eth: book.released.eth.to(),
            },
        );
        self.token(
            Token::s_totalCreditsCall {},
            &Token::s_totalCreditsReturn {
                sno: credits.sno.to(),
                eth: credits.eth.to(),
            },
        );
        self.token(
            Token::s_totalUnclaimedCall {},
            &Token::s_totalUnclaimedReturn {
                sno: unclaimed.sno.to(),
                eth: unclaimed.eth.to(),
            },
        );
        self.token(
            Token::getEthBreakdownCall {},
            &Token::EthBreakdown {
                totalContractEth: held.eth,
                unclaimedEth: unclaimed.eth,
                escrowedEth: escrow.eth,
                availableEth: held.eth - unclaimed.eth - escrow.eth,
            },
        );
        self.token(Token::s_totalETHDepositedCall {}, &book.eth_deposited);
        let last = book.distributions.last();
        let last_time = U256::from(last.map_or(0, |distribution| distribution.made_at));
        self.token(Token::s_lastDistributionTimeCall {}, &last_time);
        self.token(
            Token::getPastTotalSupplyCall {
                timepoint: U256::from(book.now - 1),
            },
            &book.past_total_votes(),
        );
        self.token(
            Token::getEmissionRateCall {},
            &emission(
                book.era((book.now - schedule_interval).max(book.place.start)),
                schedule_interval,
            ),
        );
        self.token(Token::s_userLockAmountCall {}, &book.requirements[0].amount);
        self.token(
            Token::s_validatorLockAmountCall {},
            &book.requirements[1].amount,
        );
        self.core(Core::getJobCountCall {}, &U256::from(book.jobs.len()));
        self.core(Core::networkCountCall {}, &U256::from(book.networks.len()));
        self
    }

    /// An account's SNO.
    pub fn balance(mut self, account: Address) -> Self {
        let balance = self.book.account(account).sno;
        let call = Token::balanceOfCall { account };
        self.push(self.book.place.token, Some(account), call, &balance);
        self
    }

    /// All that is known of an account.
    pub fn account(mut self, account: Address) -> Self {
        let book = self.book;
        let known = book.account(account);
        let place = &book.place;
        let (token, core, coordinator) = (place.token, place.core, place.coordinator);
        let about = Some(account);
        self.push(token, about, Token::balanceOfCall { account }, &known.sno);
        self.push(
            token,
            about,
            Token::getVotesCall { account },
            &book.votes(account),
        );
        self.push(
            token,
            about,
            Token::delegatesCall { account },
            &known.delegate,
        );
        self.push(
            token,
            about,
            Token::noncesCall { owner: account },
            &U256::from(known.nonce),
        );
        self.push(
            token,
            about,
            Token::s_creditsCall { account },
            &Token::s_creditsReturn {
                sno: known.credit.sno.to(),
                eth: known.credit.eth.to(),
                kept: known.was_validator,
            },
        );
        let Pay { sno, eth } = book.escrow(about);
        self.push(
            token,
            about,
            Token::s_escrowedPaymentsCall { account },
            &Token::s_escrowedPaymentsReturn {
                sno: sno.to(),
                eth: eth.to(),
            },
        );
        for (kind, is_validator) in [false, true].into_iter().enumerate() {
            let lock = known.locks[kind];
            let Lock { amount, unlock_at } = lock.unwrap_or(Lock {
                amount: U256::ZERO,
                unlock_at: None,
            });
            self.push(
                token,
                about,
                Token::lockOfCall {
                    user: account,
                    isValidator: is_validator,
                },
                &Token::lockOfReturn {
                    amount,
                    unlockTime: U256::from(unlock_at.unwrap_or_default()),
                    exists: lock.is_some(),
                },
            );
        }
        let [user_key, validator_key] = known.keys;
        self.push(
            core,
            about,
            Core::usersCall { account },
            &Core::usersReturn {
                publicKeyHash: user_key.unwrap_or_default(),
                locked: user_key.is_some() && book.is_locked(account, false),
                exists: user_key.is_some(),
            },
        );
        let key = validator_key.unwrap_or_default();
        self.push(
            core,
            about,
            Core::validatorsCall { account },
            &Core::validatorsReturn {
                publicKeyHash: key,
                locked: validator_key.is_some() && book.is_locked(account, true),
                exists: validator_key.is_some(),
            },
        );
        self.push(
            core,
            about,
            Core::isVerifiedValidatorCall {
                account,
                publicKeyHash: key,
            },
            &book.is_verified_validator(account, key),
        );
        let is_user = user_key.is_some() && book.has_sufficient_collateral(account, false);
        self.push(core, about, Core::isUserCall { account }, &is_user);
        self.push(
            core,
            about,
            Core::reputationOfCall { account },
            &(known.reputation.score as u16),
        );
        let is_member = book.members.contains_key(&account);
        self.push(
            coordinator,
            about,
            Coordinator::isValidatorCall { account },
            &is_member,
        );
        self.push(
            coordinator,
            about,
            Coordinator::isActiveCall { account },
            &book.is_active(account),
        );
        let open = book.open();
        let counts = open.is_some_and(|open| open.snapshot.contains(&account));
        self.push(
            coordinator,
            about,
            Coordinator::isSnapshotValidatorCall { account },
            &counts,
        );
        let voted_for = open.and_then(|open| {
            let number = open.votes.get(&account)?;
            open.proposals.get(usize::from(*number) - 1)
        });
        self.push(
            coordinator,
            about,
            Coordinator::votedForCall { validator: account },
            &voted_for.map_or(B256::ZERO, |proposal| proposal.hash),
        );
        let voted_in = book.voted_in.get(&account).copied().unwrap_or_default();
        self.push(
            coordinator,
            about,
            Coordinator::validatorLastActiveRoundCall { validator: account },
            &U256::from(voted_in),
        );
        self
    }

    /// A distribution, by its id.
    pub fn distribution(mut self, id: u64) -> Self {
        let live = self.book.live_distributions();
        let first = (self.book.distributions.len() - live.len()) as u64 + 1;
        let known = id
            .checked_sub(first)
            .and_then(|place| live.get(place as usize));
        let left = known.map_or(Pay::default(), |d| d.left);
        let payments = known.map_or(U256::ZERO, |d| super::rewards::payments_in(d, d.left.sno));
        let answer = Token::unclaimedOfReturn {
            unclaimed: ISmartnodesERC20::PaymentAmounts {
                sno: left.sno.to(),
                eth: left.eth.to(),
            },
            payments,
        };
        self.token(
            Token::unclaimedOfCall {
                distributionId: U256::from(id),
            },
            &answer,
        );
        self
    }

    /// A job.
    pub fn job(mut self, id: B256) -> Self {
        if let Some(job) = self.book.jobs.get(&id) {
            let answer = Core::getJobReturn {
                owner: job.owner,
                payment: job.payment.to(),
                payWithSNO: job.in_sno,
                state: job.state as u8,
                createdAt: job.created_at,
                network: self.book.networks[job.network].0.clone(),
            };
            self.core(Core::getJobCall { jobId: id }, &answer);
        }
        self
    }

    /// What an account may take from another.
    pub fn allowances(mut self) -> Self {
        for ((owner, spender), allowance) in &self.book.allowances {
            self.token(
                Token::allowanceCall {
                    owner: *owner,
                    spender: *spender,
                },
                allowance,
            );
        }
        self
    }

    /// All accounts, distributions, jobs and networks.
    pub fn everything(self, accounts: &BTreeSet<Address>) -> Self {
        let book = self.book;
        let mut all = self.round().totals().allowances();
        for account in accounts {
            all = all.account(*account);
        }
        for (id, (name, active)) in book.networks.iter().enumerate() {
            let answer = Core::networksReturn {
                name: name.clone(),
                active: *active,
            };
            all.core(Core::networksCall { id: U256::from(id) }, &answer);
        }
        for id in book.jobs.keys() {
            all = all.job(*id);
        }
        let last = book.distributions.len() as u64;
        for id in last.saturating_sub(505)..=last + 1 {
            all = all.distribution(id);
        }
        all
    }
}
