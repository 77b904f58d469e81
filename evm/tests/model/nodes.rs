//! Credentials, reputation, networks and jobs.

use alloy::primitives::{Address, B256, U256};
use smartnodes_evm::{
    bindings::{SmartnodesCore as Core, SmartnodesERC20 as Token},
    state_update::{ReputationChange, job_id},
};

use super::book::{Book, Job, JobState, Note, Reasons, Verdict, refuse};

/// A job's deadline: update intervals after its request.
const CANCEL_AFTER_INTERVALS: u64 = 3;

impl Book {
    fn can_register(&self, account: Address, validator: bool, key: B256) -> Verdict {
        let known = self.account(account).keys[usize::from(validator)];
        Reasons::default()
            .when(key.is_zero(), Core::Core__InvalidPublicKeyHash {})
            .when(known.is_some(), Core::Core__NodeExists {})
            .also(self.can_lock(account, validator))
            .verdict()
    }

    pub fn create_user(&mut self, account: Address, key: B256) -> Verdict {
        self.can_register(account, false, key)?;
        self.lock(account, false);
        self.account_mut(account).keys[0] = Some(key);
        Ok(())
    }

    pub fn create_validator(&mut self, account: Address, key: B256) -> Verdict {
        Reasons::default()
            .also(self.can_register(account, true, key))
            .also(self.can_join(account))
            .verdict()?;
        self.lock(account, true);
        self.account_mut(account).keys[1] = Some(key);
        self.join(account);
        Ok(())
    }

    /// Gives up the role and asks for the collateral, or collects it.
    pub fn unlock_role(&mut self, account: Address, validator: bool) -> Verdict {
        self.can_unlock(account, validator)?;
        self.unlock(account, validator);
        if validator {
            self.retire_validator(account);
        } else {
            self.account_mut(account).keys[0] = None;
        }
        Ok(())
    }

    /// Credential and seat end together.
    pub fn retire_validator(&mut self, account: Address) {
        self.account_mut(account).keys[1] = None;
        self.leave(account);
    }

    pub fn set_key(&mut self, account: Address, key: B256) -> Verdict {
        let known = self.account(account).keys;
        Reasons::default()
            .when(key.is_zero(), Core::Core__InvalidPublicKeyHash {})
            .when(known == [None; 2], Core::Core__NodeDoesNotExist {})
            .verdict()?;
        self.account_mut(account).keys = known.map(|key_known| key_known.map(|_| key));
        Ok(())
    }

    pub fn is_verified_validator(&self, account: Address, key: B256) -> bool {
        self.account(account).keys[1] == Some(key)
            && self.has_sufficient_collateral(account, true)
            && self.members.contains_key(&account)
    }

    pub fn change_reputation(&mut self, change: &ReputationChange) {
        let round = self.round;
        let reputation = &mut self.account_mut(change.account).reputation;
        if reputation.changed_in != Some(round) {
            let step = i64::from(change.delta).clamp(-100, 100);
            reputation.score = (reputation.score + step).clamp(0, 1_000);
            reputation.changed_in = Some(round);
        }
    }

    pub fn network(&self, name: &str) -> Option<usize> {
        self.networks
            .iter()
            .position(|known| *known == (name.to_owned(), true))
    }

    pub fn add_network(&mut self, from: Address, name: &str) -> Verdict {
        Reasons::default()
            .when(from != self.place.timelock, Core::Core__NotDAO {})
            .when(
                name.is_empty() || name.len() > 64 || self.networks.len() == 256,
                Core::Core__InvalidNetworkName {},
            )
            .when(self.network(name).is_some(), Core::Core__NetworkExists {})
            .verdict()?;
        self.networks.push((name.to_owned(), true));
        Ok(())
    }

    pub fn remove_network(&mut self, from: Address, id: u8) -> Verdict {
        let active = self
            .networks
            .get(usize::from(id))
            .is_some_and(|(_, active)| *active);
        Reasons::default()
            .when(from != self.place.timelock, Core::Core__NotDAO {})
            .when(!active, Core::Core__UnknownNetwork {})
            .verdict()?;
        self.networks[usize::from(id)].1 = false;
        Ok(())
    }

    pub fn request_job(
        &mut self,
        owner: Address,
        value: U256,
        call: &Core::requestJobCall,
    ) -> Verdict {
        let known = self.account(owner);
        let payment = U256::from(call.payment);
        let in_sno = value.is_zero();
        let network = self.network(&call.network);
        let id = job_id(self.place.chain_id, self.place.core, owner, call.jobHash);
        Reasons::default()
            .when(
                known.keys[0] != Some(call.userHash),
                Core::Core__InvalidUser {},
            )
            .when(
                !self.has_sufficient_collateral(owner, false),
                Core::Core__InsufficientBalance {},
            )
            .when(
                call.capacities.len() > 64,
                Core::Core__InvalidArrayLength {},
            )
            .when(
                payment.is_zero() || (!in_sno && payment != value),
                Core::Core__InvalidPayment {},
            )
            .when(network.is_none(), Core::Core__UnknownNetwork {})
            .when(self.jobs.contains_key(&id), Core::Core__JobExists {})
            .when(
                in_sno && known.sno < payment,
                Token::Token__InsufficientBalance {},
            )
            .verdict()?;
        if in_sno {
            self.move_sno(owner, self.place.token, payment);
        } else {
            self.move_eth(owner, self.place.token, payment);
            self.eth_deposited += payment;
        }
        let job = Job {
            owner,
            network: network.unwrap_or_default(),
            state: JobState::Open,
            in_sno,
            payment,
            created_at: self.now,
            cancellable_at: self.now + CANCEL_AFTER_INTERVALS * self.schedule.interval,
        };
        self.jobs.insert(id, job);
        Ok(())
    }

    pub fn cancel_job(&mut self, from: Address, id: B256) -> Verdict {
        let Some(job) = self.jobs.get(&id).cloned() else {
            return Err(refuse(Core::Core__NotJobOwner {}));
        };
        Reasons::default()
            .when(from != job.owner, Core::Core__NotJobOwner {})
            .when(job.state != JobState::Open, Core::Core__JobNotOpen {})
            .when(
                self.now < job.cancellable_at,
                Core::Core__TooEarlyToCancel {
                    cancellableAt: U256::from(job.cancellable_at),
                },
            )
            .verdict()?;
        self.end_job(id, JobState::Cancelled);
        if job.in_sno {
            self.move_sno(self.place.token, job.owner, job.payment);
        } else {
            self.pay_eth(job.owner, job.payment);
        }
        Ok(())
    }

    /// An executed update names the job: its payment is released, if it is open.
    pub fn complete_job(&mut self, id: B256) -> Option<Note> {
        match self.jobs.get(&id) {
            Some(job) if job.state == JobState::Open => {
                if job.in_sno {
                    self.released.sno += job.payment;
                } else {
                    self.released.eth += job.payment;
                }
                self.end_job(id, JobState::Complete);
                None
            }
            _ => Some(Note::JobSkipped(id)),
        }
    }

    fn end_job(&mut self, id: B256, state: JobState) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = state;
        }
    }
}
