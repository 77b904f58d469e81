//! What governance does, and what only contracts may do.

use alloy::primitives::{Address, B256, U256};
use smartnodes_evm::bindings::{
    SmartnodesCoordinator::{self as Coordinator, SmartnodesCoordinatorCalls as CoordinatorCalls},
    SmartnodesCore::{self as Core, SmartnodesCoreCalls as CoreCalls},
    SmartnodesERC20::{self as Token, SmartnodesERC20Calls as TokenCalls},
};

use super::{
    actions::{Action, Flaw},
    book::sno,
    calls::Call,
    offers::some_hash,
    resolve::{coordinator, core, token},
    world::{World, key_hash},
};

impl World {
    /// What `from` sends to do what the timelock may, or what only another contract may.
    pub fn offer_of_governance(&self, action: &Action, from: Address) -> Option<(Call, U256)> {
        let place = &self.book.place;
        match action {
            Action::Slash { validator, amount } => {
                let validator = self.actor(*validator);
                let held = self.book.account(validator).locks[1].map_or(sno(1), |lock| lock.amount);
                let call = Token::slashAndUnlockValidatorCall {
                    validator,
                    amount: amount.of(held),
                };
                token(TokenCalls::slashAndUnlockValidator(call))
            }
            Action::SetCollateral { validator, percent } => {
                let amount = self.book.requirements[usize::from(*validator)].amount;
                let amount = amount * U256::from(*percent) / U256::from(100);
                set_collateral(*validator, amount)
            }
            Action::SetCollateralTo(validator, flaw) => {
                let first = if *validator { sno(1_000_000) } else { sno(100) };
                set_collateral(
                    *validator,
                    match flaw {
                        Flaw::Zero => U256::ZERO,
                        Flaw::Huge => U256::MAX,
                        Flaw::Number => U256::ONE << 128,
                        _ => first,
                    },
                )
            }
            Action::SetInterval { seconds } => coordinator(CoordinatorCalls::updateTiming(
                Coordinator::updateTimingCall {
                    newInterval: U256::from(*seconds),
                },
            )),
            Action::ScaleInterval { halve: true } => token(TokenCalls::halveDistributionInterval(
                Token::halveDistributionIntervalCall {},
            )),
            Action::ScaleInterval { halve: false } => token(
                TokenCalls::doubleDistributionInterval(Token::doubleDistributionIntervalCall {}),
            ),
            Action::SetPercent(percent) => coordinator(CoordinatorCalls::setApprovalPercentage(
                Coordinator::setApprovalPercentageCall {
                    newPercent: *percent,
                },
            )),
            Action::AddNetwork(number) => {
                let name = match number {
                    0 => String::new(),
                    1 => "n".repeat(65),
                    2 => "n".repeat(64),
                    _ => format!("network {number}"),
                };
                core(CoreCalls::addNetwork(Core::addNetworkCall { name }))
            }
            Action::RemoveNetwork(id) => core(CoreCalls::removeNetwork(Core::removeNetworkCall {
                id: *id,
            })),
            Action::Upgrade {
                core: is_core,
                flaw,
            } => {
                let [core_code, coordinator_code] = place.implementations;
                let code = if *is_core {
                    core_code
                } else {
                    coordinator_code
                };
                let code = if *flaw == Flaw::None {
                    code
                } else {
                    place.token
                };
                if *is_core {
                    core(CoreCalls::upgradeToAndCall(Core::upgradeToAndCallCall {
                        newImplementation: code,
                        data: Default::default(),
                    }))
                } else {
                    let call = Coordinator::upgradeToAndCallCall {
                        newImplementation: code,
                        data: Default::default(),
                    };
                    coordinator(CoordinatorCalls::upgradeToAndCall(call))
                }
            }
            Action::Internal(number) => internal(*number, from),
            _ => None,
        }
    }
}

fn set_collateral(validator: bool, amount: U256) -> Option<(Call, U256)> {
    token(if validator {
        TokenCalls::setValidatorLockAmount(Token::setValidatorLockAmountCall { newAmount: amount })
    } else {
        TokenCalls::setUserLockAmount(Token::setUserLockAmountCall { newAmount: amount })
    })
}

/// What only another contract may call, in the caller's own favour.
fn internal(number: u8, from: Address) -> Option<(Call, U256)> {
    let (payment, amount) = (sno(1), sno(1));
    let user = from;
    match number {
        0 => token(TokenCalls::lockTokens(Token::lockTokensCall {
            user,
            isValidator: true,
        })),
        1 => token(TokenCalls::unlockTokens(Token::unlockTokensCall {
            user,
            isValidator: true,
        })),
        2 => token(TokenCalls::escrowPayment(Token::escrowPaymentCall {
            user,
            payment,
        })),
        3 => token(TokenCalls::escrowEthPayment(Token::escrowEthPaymentCall {
            user,
            payment,
        })),
        4 => token(TokenCalls::releaseEscrowedPayment(
            Token::releaseEscrowedPaymentCall { user, amount },
        )),
        5 => token(TokenCalls::releaseEscrowedEthPayment(
            Token::releaseEscrowedEthPaymentCall { user, amount },
        )),
        6 => token(TokenCalls::refundEscrowedPayment(
            Token::refundEscrowedPaymentCall { user, amount },
        )),
        7 => token(TokenCalls::refundEscrowedEthPayment(
            Token::refundEscrowedEthPaymentCall { user, amount },
        )),
        8 => token(TokenCalls::createMerkleDistribution(
            Token::createMerkleDistributionCall {
                merkleRoot: some_hash("root", 0),
                totalCapacity: U256::ONE,
                approvingValidators: vec![from],
                interval: U256::from(3_600),
            },
        )),
        9 => core(CoreCalls::updateContract(Core::updateContractCall {
            jobIds: Vec::new(),
            merkleRoot: B256::ZERO,
            totalCapacity: U256::ZERO,
            approvingValidators: vec![from],
            interval: U256::from(3_600),
            round: 1,
            reputationChanges: Vec::new(),
        })),
        10 => core(CoreCalls::validatorSlashed(Core::validatorSlashedCall {
            validator: from,
        })),
        11 => core(CoreCalls::initialize(Core::initializeCall {
            genesisNodes: vec![from],
            publicKeyHashes: vec![key_hash(from)],
            networkNames: Vec::new(),
        })),
        12 => coordinator(CoordinatorCalls::validatorRegistered(
            Coordinator::validatorRegisteredCall { validator: from },
        )),
        13 => coordinator(CoordinatorCalls::validatorLeft(
            Coordinator::validatorLeftCall { validator: from },
        )),
        _ => coordinator(CoordinatorCalls::initialize(Coordinator::initializeCall {
            interval: 3_600,
            approvalPercent: 51,
            genesisNodes: vec![from],
        })),
    }
}
