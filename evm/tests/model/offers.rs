//! The content of each call: what an actor sends, by the state of the book and the flaw that the call is to have.

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    signers::SignerSync,
    sol_types::SolStruct,
};
use smartnodes_evm::{
    bindings::{
        SmartnodesCoordinator::{
            self as Coordinator, SmartnodesCoordinatorCalls as CoordinatorCalls,
        },
        SmartnodesCore::{self as Core, SmartnodesCoreCalls as CoreCalls},
        SmartnodesERC20::{self as Token, SmartnodesERC20Calls as TokenCalls},
    },
    reward_tree::RewardTree,
    state_update::{ReputationChange, StateUpdate, capacities_hash, job_id, workers_hash},
};

use super::{
    actions::{Action, Amount, Flaw, PlanShape, Total},
    book::{JobState, sno},
    calls::Call,
    resolve::{coordinator, core, execute, pick, token, vote},
    token::{Delegation, Permit, domain},
    world::{Plan, World, key_hash, signer},
};

impl Amount {
    pub fn of(self, balance: U256) -> U256 {
        match self {
            Self::Percent(100) => balance,
            // Odd amounts leave remainders wherever they are divided.
            Self::Percent(percent) => balance * U256::from(percent) / U256::from(103),
            Self::OneTooMany => balance + U256::ONE,
            Self::Zero => U256::ZERO,
            Self::Huge => U256::MAX,
        }
    }
}

impl PlanShape {
    /// An update without work.
    pub fn empty() -> Self {
        Self {
            leaves: Vec::new(),
            total: Total::Exact,
            remove: Vec::new(),
            jobs: 0,
            stray_job: false,
            reputation: Vec::new(),
        }
    }
}

pub fn some_hash(text: &str, number: u8) -> B256 {
    keccak256([text.as_bytes(), &[number]].concat())
}

impl World {
    pub fn actor(&self, number: u8) -> Address {
        self.actors[usize::from(number) % self.actors.len()]
    }

    /// A validator, or from 12 on any actor.
    fn removable(&self, number: u8) -> Address {
        let members: Vec<Address> = self.book.members.keys().copied().collect();
        match number.checked_sub(12) {
            None => pick(&members, number).unwrap_or(self.actor(number)),
            Some(number) => self.actor(number),
        }
    }

    /// An actor, or one of the accounts that are none.
    fn anybody(&self, number: u8) -> Address {
        let place = &self.book.place;
        let number = usize::from(number);
        match number.checked_sub(self.actors.len()) {
            None => self.actors[number],
            Some(0) => place.timelock,
            Some(1) => place.token,
            Some(_) => Address::ZERO,
        }
    }

    /// The update of that shape for the next distribution.
    pub fn plan(&self, shape: &PlanShape) -> Plan {
        let mut capacities = std::collections::BTreeMap::new();
        for (worker, capacity) in &shape.leaves {
            *capacities.entry(self.actor(*worker)).or_insert(U256::ZERO) += U256::from(*capacity);
        }
        let leaves: Vec<(Address, U256)> = capacities.into_iter().collect();
        let id = self.book.distributions.len() as u64 + 1;
        let tree = RewardTree::new(id, leaves.clone()).ok();
        let (workers, amounts): (Vec<_>, Vec<_>) = leaves.iter().copied().unzip();
        let sum: U256 = amounts.iter().sum();
        let mut root = tree.as_ref().map_or(B256::ZERO, RewardTree::root);
        let total = match shape.total {
            Total::Exact => sum,
            Total::Half => sum / U256::from(2),
            Total::Twice => sum * U256::from(2),
            Total::Zero => U256::ZERO,
            Total::WithoutRoot => {
                root = B256::ZERO;
                U256::ONE
            }
            Total::TooLarge => U256::ONE << 112,
        };
        let open = self
            .book
            .jobs
            .iter()
            .filter(|(_, job)| job.state == JobState::Open);
        let mut jobs: Vec<B256> = open.take(shape.jobs.into()).map(|(id, _)| *id).collect();
        if shape.stray_job {
            let completed = self
                .book
                .jobs
                .iter()
                .find(|(_, job)| job.state != JobState::Open);
            jobs.push(completed.map_or(some_hash("stray", 0), |(id, _)| *id));
            jobs.extend(jobs.first().copied());
        }
        let changes = shape
            .reputation
            .iter()
            .map(|(account, delta)| ReputationChange {
                account: self.actor(*account),
                delta: *delta,
            });
        let update = StateUpdate {
            merkleRoot: root,
            totalCapacity: total,
            validatorsToRemove: shape.remove.iter().map(|n| self.removable(*n)).collect(),
            jobIds: jobs,
            workersHash: workers_hash(&workers),
            capacitiesHash: capacities_hash(&amounts),
            reputationChanges: changes.collect(),
        };
        Plan {
            update,
            leaves,
            tree,
        }
    }

    /// What `from` sends to do `action` at `time`, if there is anything to do it with.
    pub fn offer(&self, action: &Action, from: Address, time: u64) -> Option<(Call, U256)> {
        match action {
            // These need more than one call, or are the same whoever sends them.
            Action::GoOn(_) | Action::Propose(_) => None,
            Action::OpenRound
            | Action::ProposeHash(_)
            | Action::Vote { .. }
            | Action::Execute { .. }
            | Action::Join
            | Action::Leave
            | Action::Reactivate => self.offer_in_round(action, from),
            Action::Register { .. }
            | Action::Unlock { .. }
            | Action::TopUp { .. }
            | Action::SetKey { .. }
            | Action::RequestJob { .. }
            | Action::CancelJob { .. } => self.offer_of_node(action, from),
            Action::Claim { which, flaw } => {
                let (id, capacity, proof) = self.claim_entry(from, *which, *flaw)?;
                token(TokenCalls::claimMerkleRewards(
                    Token::claimMerkleRewardsCall {
                        distributionId: id,
                        capacity,
                        proof,
                    },
                ))
            }
            Action::ClaimBatch { entries, ragged } => {
                let mut call = Token::batchClaimMerkleRewardsCall {
                    distributionIds: Vec::new(),
                    capacities: Vec::new(),
                    proofs: Vec::new(),
                };
                for (which, flaw) in entries {
                    if let Some((id, capacity, proof)) = self.claim_entry(from, *which, *flaw) {
                        call.distributionIds.push(id);
                        call.capacities.push(capacity);
                        call.proofs.push(proof);
                    }
                }
                if *ragged {
                    call.capacities.push(U256::ONE);
                }
                token(TokenCalls::batchClaimMerkleRewards(call))
            }
            Action::Slash { .. }
            | Action::SetCollateral { .. }
            | Action::SetCollateralTo(..)
            | Action::SetInterval { .. }
            | Action::ScaleInterval { .. }
            | Action::SetPercent(_)
            | Action::AddNetwork(_)
            | Action::RemoveNetwork(_)
            | Action::Upgrade { .. }
            | Action::Internal(_) => self.offer_of_governance(action, from),
            _ => self.offer_of_money(action, from, time),
        }
    }

    fn offer_in_round(&self, action: &Action, from: Address) -> Option<(Call, U256)> {
        let proposals = self.book.open().map_or(&[][..], |open| &open.proposals);
        coordinator(match action {
            Action::OpenRound => CoordinatorCalls::openRound(Coordinator::openRoundCall {}),
            Action::ProposeHash(flaw) => {
                let known = proposals.first().map(|proposal| proposal.hash);
                let hash = match flaw {
                    Flaw::Zero => B256::ZERO,
                    Flaw::None | Flaw::Other => some_hash("nobody knows", self.book.round as u8),
                    _ => known.unwrap_or(some_hash("nobody knows either", 0)),
                };
                CoordinatorCalls::createProposal(Coordinator::createProposalCall {
                    proposalHash: hash,
                })
            }
            Action::Vote { proposal, flaw } => {
                let number = proposal % (proposals.len() as u8).max(1) + 1;
                let known = proposals.get(usize::from(number) - 1);
                let hash = known.map_or(B256::ZERO, |proposal| proposal.hash);
                return match flaw {
                    Flaw::None => vote(number, hash),
                    Flaw::Zero => vote(0, hash),
                    Flaw::Number => vote(number % 4 + 1, hash),
                    Flaw::Huge => vote(u8::MAX, hash),
                    _ => vote(number, some_hash("another", 0)),
                };
            }
            Action::Execute { proposal, flaw } => {
                let number = proposal % (proposals.len() as u8).max(1) + 1;
                let known = proposals.get(usize::from(number) - 1)?;
                let mut update = match self.notes.plans.get(&known.hash) {
                    Some(plan) => plan.update.clone(),
                    None => self.plan(&PlanShape::empty()).update,
                };
                match flaw {
                    Flaw::None | Flaw::Late => {}
                    Flaw::Zero => return execute(0, update),
                    Flaw::Number => return execute(number % 4 + 1, update),
                    Flaw::Huge => update.totalCapacity += U256::ONE,
                    Flaw::Hash => update.workersHash = some_hash("another", 0),
                    Flaw::Other => update.validatorsToRemove.push(self.actors[0]),
                }
                return execute(number, update);
            }
            Action::Join => CoordinatorCalls::addValidator(Coordinator::addValidatorCall {}),
            Action::Leave => CoordinatorCalls::removeValidator(Coordinator::removeValidatorCall {}),
            _ => {
                // To be let do nothing is no news: the inactive come first, if there are any.
                let is_inactive = |account: &Address| {
                    self.book.members.contains_key(account) && !self.book.is_active(*account)
                };
                if !is_inactive(&from) && self.actors.iter().any(is_inactive) {
                    return None;
                }
                CoordinatorCalls::reactivate(Coordinator::reactivateCall {})
            }
        })
    }

    fn offer_of_node(&self, action: &Action, from: Address) -> Option<(Call, U256)> {
        let known = self.book.account(from);
        match action {
            Action::Register { validator, flaw } => {
                let key = match flaw {
                    Flaw::Zero => B256::ZERO,
                    _ => key_hash(from),
                };
                core(if *validator {
                    CoreCalls::createValidator(Core::createValidatorCall { publicKeyHash: key })
                } else {
                    CoreCalls::createUser(Core::createUserCall { publicKeyHash: key })
                })
            }
            Action::Unlock { validator: true } => {
                core(CoreCalls::unlockValidator(Core::unlockValidatorCall {}))
            }
            Action::Unlock { validator: false } => {
                core(CoreCalls::unlockUser(Core::unlockUserCall {}))
            }
            Action::TopUp { validator } => {
                token(TokenCalls::topUpCollateral(Token::topUpCollateralCall {
                    isValidator: *validator,
                }))
            }
            Action::SetKey { flaw } => {
                let key = match flaw {
                    Flaw::Zero => B256::ZERO,
                    Flaw::None => keccak256(key_hash(from)),
                    _ => key_hash(from),
                };
                core(CoreCalls::setPublicKeyHash(Core::setPublicKeyHashCall {
                    publicKeyHash: key,
                }))
            }
            Action::CancelJob { job } => {
                let jobs = self.book.jobs.iter();
                let mut own: Vec<(bool, bool, B256)> = jobs
                    .map(|(id, job)| (job.owner != from, job.state != JobState::Open, *id))
                    .collect();
                own.sort_unstable();
                let first: Vec<B256> = own.iter().map(|(_, _, id)| *id).take(2).collect();
                let any: Vec<B256> = own.iter().map(|(_, _, id)| *id).collect();
                let id = if job % 4 == 3 {
                    pick(&any, *job)
                } else {
                    pick(&first, *job)
                };
                core(CoreCalls::cancelJob(Core::cancelJobCall { jobId: id? }))
            }
            Action::RequestJob {
                name,
                in_eth,
                amount,
                flaw,
            } => {
                let ether = amount.of(sno(1)).min(sno(2));
                let payment = if *in_eth { ether } else { amount.of(known.sno) };
                let payment: u128 = payment.try_into().unwrap_or(u128::MAX);
                let network = self.book.networks.iter().find(|(_, active)| *active);
                let network = match flaw {
                    Flaw::Other => "unheard of".to_owned(),
                    _ => network.map_or(String::new(), |(name, _)| name.clone()),
                };
                let user_hash = match flaw {
                    Flaw::Hash => some_hash("another", 0),
                    _ => known.keys[0].unwrap_or(key_hash(from)),
                };
                let mut value = if *in_eth {
                    U256::from(payment)
                } else {
                    U256::ZERO
                };
                if *flaw == Flaw::Number {
                    value += U256::ONE;
                }
                let capacities = if *flaw == Flaw::Huge {
                    65
                } else {
                    usize::from(*name % 3)
                };
                // A name that is taken already is one of the flaws.
                let job_hash = if *flaw == Flaw::Late {
                    some_hash("job", 0)
                } else {
                    (0..=u8::MAX).map(|n| some_hash("job", n)).find(|hash| {
                        let place = &self.book.place;
                        let id = job_id(place.chain_id, place.core, from, *hash);
                        !self.book.jobs.contains_key(&id)
                    })?
                };
                let call = Core::requestJobCall {
                    userHash: user_hash,
                    jobHash: job_hash,
                    network,
                    capacities: vec![U256::ONE; capacities],
                    payment,
                };
                Some((Call::Core(CoreCalls::requestJob(call)), value))
            }
            _ => None,
        }
    }

    /// A leaf for `from` if there is one that it has not claimed, else any.
    fn claim_entry(&self, from: Address, which: u8, flaw: Flaw) -> Option<(U256, U256, Vec<B256>)> {
        let last = self.book.distributions.len() as u64;
        let recent = self.notes.executed.range(last.saturating_sub(505)..);
        let mut open = Vec::new();
        let mut others = Vec::new();
        for (id, plan) in recent {
            for (account, capacity) in &plan.leaves {
                let entry = (*id, *account, *capacity);
                let distribution = &self.book.distributions[*id as usize - 1];
                if *account == from && !distribution.claimed.contains(account) {
                    open.push(entry);
                } else {
                    others.push(entry);
                }
            }
        }
        // The oldest and the latest are the ones that differ.
        open.sort_unstable_by_key(|(id, ..)| (*id + 4 < last && *id + 495 > last, *id));
        let chosen = if flaw == Flaw::Other { &others } else { &open };
        let (id, account, capacity) = pick(chosen, which).or(pick(&others, which))?;
        let tree = self.notes.executed.get(&id)?.tree.as_ref()?;
        let mut proof = tree.proof(account)?;
        let id = U256::from(id);
        Some(match flaw {
            Flaw::Number => (id, capacity + U256::ONE, proof),
            Flaw::Hash => {
                proof.push(some_hash("another", which));
                (id, capacity, proof)
            }
            Flaw::Zero => (U256::ZERO, capacity, proof),
            Flaw::Huge => (U256::MAX - U256::from(which), U256::MAX, proof),
            Flaw::Late => (id.saturating_sub(U256::from(which)), capacity, proof),
            Flaw::None | Flaw::Other => (id, capacity, proof),
        })
    }

    fn offer_of_money(&self, action: &Action, from: Address, time: u64) -> Option<(Call, U256)> {
        let balance = self.book.account(from).sno;
        token(match action {
            Action::ClaimTestnet { flaw } => {
                let own = self.testnet.iter().find(|reward| reward.account == from);
                let reward = own.or(self.testnet.first())?;
                let surplus = U256::from(u8::from(*flaw != Flaw::None));
                let (amount, proof) = (reward.amount + surplus, reward.proof.clone());
                TokenCalls::claimTestnetRewards(Token::claimTestnetRewardsCall { amount, proof })
            }
            Action::Transfer { to, amount } => TokenCalls::transfer(Token::transferCall {
                to: self.anybody(*to),
                value: amount.of(balance),
            }),
            Action::TransferFrom { owner, to, amount } => {
                let allowances = self.book.allowances.iter();
                let owners: Vec<(Address, U256)> = allowances
                    .filter(|((_, spender), allowance)| *spender == from && !allowance.is_zero())
                    .map(|((owner, _), allowance)| (*owner, *allowance))
                    .collect();
                let (owner, allowance) =
                    pick(&owners, *owner).unwrap_or((self.anybody(*owner), U256::ONE));
                TokenCalls::transferFrom(Token::transferFromCall {
                    from: owner,
                    to: self.anybody(*to),
                    value: amount.of(allowance.min(self.book.account(owner).sno)),
                })
            }
            Action::Approve { spender, amount } => TokenCalls::approve(Token::approveCall {
                spender: self.anybody(*spender),
                value: amount.of(balance),
            }),
            Action::Permit {
                spender,
                amount,
                flaw,
            } => self.permit_of(
                from,
                self.anybody(*spender),
                amount.of(balance),
                *flaw,
                time,
            )?,
            Action::Delegate { to } => TokenCalls::delegate(Token::delegateCall {
                delegatee: self.anybody(*to),
            }),
            Action::DelegateBySignature { to, flaw } => {
                self.delegation_of(from, self.anybody(*to), *flaw, time)?
            }
            Action::WithdrawEth { to } => TokenCalls::withdrawEth(Token::withdrawEthCall {
                to: self.anybody(*to),
            }),
            Action::WithdrawSno => TokenCalls::withdrawSno(Token::withdrawSnoCall {}),
            Action::SweepDonations => TokenCalls::sweepDonations(Token::sweepDonationsCall {}),
            Action::Donate { milliether } => {
                let amount = sno(1) * U256::from(*milliether) / U256::from(1_000);
                return Some((Call::Donation, amount));
            }
            _ => return None,
        })
    }

    /// The number of an actor that can sign, and the one that signs where the signature is another's.
    fn signers(&self, from: Address, flaw: Flaw) -> Option<usize> {
        let number = self.actors.iter().position(|actor| *actor == from)?;
        let number = if flaw == Flaw::Other {
            number + 1
        } else {
            number
        };
        (number + 1 < self.actors.len()).then_some(number)
    }

    fn sign<S: SolStruct>(&self, by: usize, message: &S) -> (u8, B256, B256) {
        let place = &self.book.place;
        let digest = message.eip712_signing_hash(&domain(place.chain_id, place.token));
        let signature = signer(by).sign_hash_sync(&digest).expect("a key signs");
        (
            27 + u8::from(signature.v()),
            signature.r().into(),
            signature.s().into(),
        )
    }

    fn permit_of(
        &self,
        owner: Address,
        spender: Address,
        value: U256,
        flaw: Flaw,
        time: u64,
    ) -> Option<TokenCalls> {
        let by = self.signers(owner, flaw)?;
        let late = u64::from(flaw == Flaw::Late);
        let deadline = U256::from(time - late);
        let nonce = self.book.account(owner).nonce + u64::from(flaw == Flaw::Number);
        let permit = Permit {
            owner,
            spender,
            value,
            nonce: U256::from(nonce),
            deadline,
        };
        let (v, r, s) = self.sign(by, &permit);
        Some(TokenCalls::permit(Token::permitCall {
            owner,
            spender,
            value,
            deadline,
            v,
            r,
            s,
        }))
    }

    fn delegation_of(
        &self,
        from: Address,
        delegatee: Address,
        flaw: Flaw,
        time: u64,
    ) -> Option<TokenCalls> {
        let by = self.signers(from, flaw)?;
        let late = u64::from(flaw == Flaw::Late);
        let expiry = U256::from(time - late);
        let nonce = self.book.account(self.actors[by]).nonce + u64::from(flaw == Flaw::Number);
        let nonce = U256::from(nonce);
        let (v, r, s) = self.sign(
            by,
            &Delegation {
                delegatee,
                nonce,
                expiry,
            },
        );
        Some(TokenCalls::delegateBySig(Token::delegateBySigCall {
            delegatee,
            nonce,
            expiry,
            v,
            r,
            s,
        }))
    }
}
