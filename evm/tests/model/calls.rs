//! Every function that changes state, as the rule book sees it.

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolInterface,
};
use smartnodes_evm::bindings::{
    SmartnodesCoordinator::{self as Coordinator, SmartnodesCoordinatorCalls as CoordinatorCalls},
    SmartnodesCore::{self as Core, SmartnodesCoreCalls as CoreCalls},
    SmartnodesERC20::{self as Token, SmartnodesERC20Calls as TokenCalls},
};

use super::book::{Book, Note, Place, Reasons, Refused, Verdict, refuse};

/// A call of a contract's function, or ETH for the token.
#[derive(Clone, Debug)]
pub enum Call {
    Token(TokenCalls),
    Core(CoreCalls),
    Coordinator(CoordinatorCalls),
    Donation,
}

/// A call with its sender and the ETH (wei) that comes with it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub from: Address,
    pub call: Call,
    pub value: U256,
}

impl Call {
    /// The receiver.
    pub fn to(&self, place: &Place) -> Address {
        match self {
            Self::Token(_) | Self::Donation => place.token,
            Self::Core(_) => place.core,
            Self::Coordinator(_) => place.coordinator,
        }
    }

    pub fn data(&self) -> Bytes {
        match self {
            Self::Token(call) => call.abi_encode().into(),
            Self::Core(call) => call.abi_encode().into(),
            Self::Coordinator(call) => call.abi_encode().into(),
            Self::Donation => Bytes::new(),
        }
    }

    /// The function's name.
    pub fn name(&self) -> &'static str {
        let signature = match self {
            Self::Token(call) => TokenCalls::signature_by_selector(call.selector()),
            Self::Core(call) => CoreCalls::signature_by_selector(call.selector()),
            Self::Coordinator(call) => CoordinatorCalls::signature_by_selector(call.selector()),
            Self::Donation => Some("donation"),
        };
        let signature = signature.expect("a function of the contract");
        signature.split('(').next().unwrap_or(signature)
    }
}

/// The name of the error that revert data stands for.
pub fn error_name(data: &[u8]) -> String {
    let Some(selector) = data.first_chunk::<4>().copied() else {
        return "no reason".to_owned();
    };
    let named = Token::SmartnodesERC20Errors::signature_by_selector(selector)
        .or_else(|| Core::SmartnodesCoreErrors::signature_by_selector(selector))
        .or_else(|| Coordinator::SmartnodesCoordinatorErrors::signature_by_selector(selector));
    match named {
        Some(signature) => signature.split('(').next().unwrap_or(signature).to_owned(),
        None => alloy::hex::encode_prefixed(data),
    }
}

fn always<T>(verdict: Verdict) -> Verdict<Vec<T>> {
    verdict.map(|()| Vec::new())
}

impl Book {
    /// What the rule book says of a call: the new state and what is told of it, or why it is refused. A call that is
    /// refused changes nothing.
    pub fn apply(&mut self, sent: &Sent) -> Verdict<Vec<Note>> {
        let from = sent.from;
        match &sent.call {
            Call::Token(call) => self.apply_token(from, call),
            Call::Core(call) => always(self.apply_core(from, sent.value, call)),
            Call::Coordinator(call) => self.apply_coordinator(from, call),
            Call::Donation => {
                self.donate(from, sent.value);
                Ok(Vec::new())
            }
        }
    }

    fn apply_token(&mut self, from: Address, call: &TokenCalls) -> Verdict<Vec<Note>> {
        use TokenCalls as T;
        always(match call {
            T::transfer(c) => self.transfer(from, c.to, c.value),
            T::transferFrom(c) => self.transfer_from(from, c.from, c.to, c.value),
            T::approve(c) => self.approve(from, c.spender, c.value),
            T::permit(c) => self.permit(c),
            T::delegate(c) => {
                self.delegate(from, c.delegatee);
                Ok(())
            }
            T::delegateBySig(c) => self.delegate_by_sig(c),
            T::withdrawEth(c) => self.withdraw_eth(from, c.to),
            T::withdrawSno(_) => self.withdraw_sno(from),
            T::sweepDonations(_) => self.sweep_donations(),
            T::topUpCollateral(c) => self.top_up(from, c.isValidator),
            T::slashAndUnlockValidator(c) => self.slash(from, c.validator, c.amount),
            T::setValidatorLockAmount(c) => self.set_lock_amount(from, true, c.newAmount),
            T::setUserLockAmount(c) => self.set_lock_amount(from, false, c.newAmount),
            T::claimMerkleRewards(c) => self.claim(from, c.distributionId, c.capacity, &c.proof),
            T::batchClaimMerkleRewards(c) => return self.claim_batch(from, c),
            T::claimTestnetRewards(c) => self.claim_testnet(from, c.amount, &c.proof),
            T::halveDistributionInterval(_) => self.scale_interval(from, true),
            T::doubleDistributionInterval(_) => self.scale_interval(from, false),
            T::lockTokens(_)
            | T::unlockTokens(_)
            | T::escrowPayment(_)
            | T::escrowEthPayment(_)
            | T::releaseEscrowedPayment(_)
            | T::releaseEscrowedEthPayment(_)
            | T::refundEscrowedPayment(_)
            | T::refundEscrowedEthPayment(_)
            | T::createMerkleDistribution(_) => Err(refuse(Token::Token__OnlyCore {})),
            view => panic!("{view:?} changes nothing"),
        })
    }

    fn apply_core(&mut self, from: Address, value: U256, call: &CoreCalls) -> Verdict {
        use CoreCalls as C;
        match call {
            C::createUser(c) => self.create_user(from, c.publicKeyHash),
            C::createValidator(c) => self.create_validator(from, c.publicKeyHash),
            C::unlockUser(_) => self.unlock_role(from, false),
            C::unlockValidator(_) => self.unlock_role(from, true),
            C::setPublicKeyHash(c) => self.set_key(from, c.publicKeyHash),
            C::requestJob(c) => self.request_job(from, value, c),
            C::cancelJob(c) => self.cancel_job(from, c.jobId),
            C::addNetwork(c) => self.add_network(from, &c.name),
            C::removeNetwork(c) => self.remove_network(from, c.id),
            C::updateContract(_) => Err(refuse(Core::Core__NotValidatorMultisig {})),
            C::validatorSlashed(_) => Err(refuse(Core::Core__NotToken {})),
            C::initialize(_) => Err(refuse(Core::InvalidInitialization {})),
            C::upgradeToAndCall(c) => {
                self.upgrade(from, c.newImplementation, Core::Core__NotDAO {})
            }
            view => panic!("{view:?} changes nothing"),
        }
    }

    fn apply_coordinator(&mut self, from: Address, call: &CoordinatorCalls) -> Verdict<Vec<Note>> {
        use CoordinatorCalls as C;
        always(match call {
            C::openRound(_) => self.open_round(from),
            C::createProposal(c) => self.propose(from, c.proposalHash),
            C::voteForProposal(c) => self.vote(from, c.proposalNum, c.proposalHash),
            C::executeProposal(c) => return self.execute(from, c.proposalNum, &c.update),
            C::addValidator(_) => self.join_again(from),
            C::removeValidator(_) => self.leave_by_itself(from),
            C::reactivate(_) => self.reactivate(from),
            C::updateTiming(c) => self.set_interval(from, c.newInterval),
            C::setApprovalPercentage(c) => self.set_percent(from, c.newPercent),
            C::validatorRegistered(_) | C::validatorLeft(_) => {
                Err(refuse(Coordinator::Coordinator__NotCoreContract {}))
            }
            C::initialize(_) => Err(refuse(Coordinator::InvalidInitialization {})),
            C::upgradeToAndCall(c) => self.upgrade(
                from,
                c.newImplementation,
                Coordinator::Coordinator__NotDAO {},
            ),
            view => panic!("{view:?} changes nothing"),
        })
    }

    /// An upgrade keeps the state; this one is to the code that is there already.
    fn upgrade<E: alloy::sol_types::SolError>(
        &self,
        from: Address,
        implementation: Address,
        not_dao: E,
    ) -> Verdict {
        Reasons::default()
            .when(from != self.place.timelock, not_dao)
            .when(
                !self.place.implementations.contains(&implementation),
                Core::ERC1967InvalidImplementation { implementation },
            )
            .verdict()
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.0.iter().map(|reason| error_name(reason)).collect();
        formatter.write_str(&names.join(" or "))
    }
}
