//! What only one contract may ask of another, and what only the timelock may: asked by those, and by a stranger.

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256},
    sol_types::{SolCall, SolConstructor},
};
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

use crate::{
    SECOND_WORKER, STRANGER, Story,
    both::{Sender, Tx},
    contracts_support::{FIRST_WORKER, INTERVAL, SNO, key_hash, signer, sno},
    no_bytes,
};

/// More validators than are sent their reward; the first signer is among them.
const CROWD: u32 = 101;

fn address(n: u32) -> Address {
    signer(n).address()
}

impl Story {
    pub fn authority(&mut self) {
        self.core_asks_the_token();
        self.core_asks_the_coordinator();
        self.the_timelock_decides();
        self.the_timelock_upgrades();
        self.donations();
        self.the_token_asks_core();
    }

    fn core_asks_the_token(&mut self) {
        let d = self.both.deployment.clone();
        self.only_core(Token::lockTokensCall {
            user: address(SECOND_WORKER),
            isValidator: false,
        });
        self.only_core(Token::unlockTokensCall {
            user: address(SECOND_WORKER),
            isValidator: false,
        });
        let user = address(FIRST_WORKER);
        let (ten, four, six) = (sno(10), sno(4), sno(6));
        self.only_core(Token::escrowPaymentCall { user, payment: ten });
        self.only_core(Token::releaseEscrowedPaymentCall { user, amount: four });
        self.only_core(Token::refundEscrowedPaymentCall { user, amount: six });
        let escrow = Token::escrowEthPaymentCall { user, payment: ten };
        self.both
            .fails::<Token::Token__OnlyCore>(Tx::new(STRANGER, d.token, escrow.clone()));
        self.both.ok(Tx::by(d.core, d.token, escrow).paying(ten));
        self.only_core(Token::releaseEscrowedEthPaymentCall { user, amount: four });
        self.only_core(Token::refundEscrowedEthPaymentCall { user, amount: six });

        // So many validators that their SNO waits for each to collect it.
        let crowd: Vec<Address> = (0..CROWD).map(address).collect();
        self.only_core(Token::createMerkleDistributionCall {
            merkleRoot: B256::with_last_byte(1),
            totalCapacity: U256::from(100),
            approvingValidators: crowd,
            interval: U256::from(INTERVAL),
        });
        let withdraw = || Tx::new(0, d.token, Token::withdrawSnoCall {});
        self.both.ok(withdraw());
        self.both
            .fails::<Token::Token__InsufficientBalance>(withdraw());
    }

    /// A call of the token that Core may make and nobody else.
    fn only_core(&mut self, call: impl SolCall + Clone) {
        let (token, core) = (self.both.deployment.token, self.both.deployment.core);
        self.both
            .fails::<Token::Token__OnlyCore>(Tx::new(STRANGER, token, call.clone()));
        self.both.ok(Tx::by(core, token, call));
    }

    fn core_asks_the_coordinator(&mut self) {
        let d = self.both.deployment.clone();
        let left = Coordinator::validatorLeftCall {
            validator: address(1),
        };
        let registered = Coordinator::validatorRegisteredCall {
            validator: address(1),
        };
        self.both
            .fails::<Coordinator::Coordinator__NotCoreContract>(Tx::new(
                STRANGER,
                d.coordinator,
                left.clone(),
            ));
        self.both.ok(Tx::by(d.core, d.coordinator, left));
        self.both
            .fails::<Coordinator::Coordinator__NotCoreContract>(Tx::new(
                STRANGER,
                d.coordinator,
                registered.clone(),
            ));
        self.both.ok(Tx::by(d.core, d.coordinator, registered));

        let update = Core::updateContractCall {
            jobIds: vec![],
            merkleRoot: B256::ZERO,
            totalCapacity: U256::ZERO,
            approvingValidators: vec![address(0), address(1)],
            interval: U256::from(INTERVAL),
            round: 99,
            reputationChanges: vec![],
        };
        self.both.fails::<Core::Core__NotValidatorMultisig>(Tx::new(
            STRANGER,
            d.core,
            update.clone(),
        ));
        self.both.ok(Tx::by(d.coordinator, d.core, update.clone()));
        // Emission is never paid ahead of time, whoever asks.
        self.both
            .fails::<Token::Token__DistributionTooEarly>(Tx::by(
                d.coordinator,
                d.core,
                Core::updateContractCall {
                    interval: U256::from(u32::MAX),
                    ..update
                },
            ));
    }

    fn the_timelock_decides(&mut self) {
        let d = self.both.deployment.clone();
        let halve = Token::halveDistributionIntervalCall {};
        let double = Token::doubleDistributionIntervalCall {};
        let slash = Token::slashAndUnlockValidatorCall {
            validator: address(2),
            amount: sno(400_000),
        };
        self.both
            .fails::<Token::Token__OnlyDAO>(Tx::new(STRANGER, d.token, halve.clone()));
        self.both.ok(Tx::by(d.timelock, d.token, halve));
        self.both
            .fails::<Token::Token__OnlyDAO>(Tx::new(STRANGER, d.token, double.clone()));
        self.both.ok(Tx::by(d.timelock, d.token, double));
        self.both
            .fails::<Token::Token__OnlyDAO>(Tx::new(STRANGER, d.token, slash.clone()));
        self.both.ok(Tx::by(d.timelock, d.token, slash));

        let timing = |seconds| Coordinator::updateTimingCall {
            newInterval: U256::from(seconds),
        };
        let percent = |percent| Coordinator::setApprovalPercentageCall {
            newPercent: percent,
        };
        self.both.fails::<Coordinator::Coordinator__NotDAO>(Tx::new(
            STRANGER,
            d.coordinator,
            timing(INTERVAL),
        ));
        self.both
            .fails::<Coordinator::Coordinator__InvalidInterval>(Tx::by(
                d.timelock,
                d.coordinator,
                timing(60),
            ));
        self.both
            .ok(Tx::by(d.timelock, d.coordinator, timing(INTERVAL / 2)));
        self.both
            .fails::<Coordinator::Coordinator__InvalidApprovalPercentage>(Tx::by(
                d.timelock,
                d.coordinator,
                percent(50),
            ));
        self.both.ok(Tx::by(d.timelock, d.coordinator, percent(75)));

        let add = Core::addNetworkCall {
            name: "short-lived".into(),
        };
        self.both
            .fails::<Core::Core__NotDAO>(Tx::new(STRANGER, d.core, add.clone()));
        self.both.ok(Tx::by(d.timelock, d.core, add.clone()));
        self.both
            .fails::<Core::Core__NetworkExists>(Tx::by(d.timelock, d.core, add));
        let remove = Core::removeNetworkCall { id: 0 };
        self.both
            .fails::<Core::Core__NotDAO>(Tx::new(STRANGER, d.core, remove.clone()));
        self.both.ok(Tx::by(d.timelock, d.core, remove));
    }

    fn the_timelock_upgrades(&mut self) {
        let d = self.both.deployment.clone();
        let core: Bytes = [
            Core::BYTECODE.as_ref(),
            &Core::constructorCall {
                token: d.token,
                coordinator: d.coordinator,
                timelock: d.timelock,
            }
            .abi_encode(),
        ]
        .concat()
        .into();
        let coordinator: Bytes = [
            Coordinator::BYTECODE.as_ref(),
            &Coordinator::constructorCall {
                token: d.token,
                core: d.core,
                timelock: d.timelock,
            }
            .abi_encode(),
        ]
        .concat()
        .into();
        // The implementations answer for themselves only where they are no proxy's.
        let mut implementations = Vec::new();
        for code in [core, coordinator] {
            let create = Tx::raw(Sender::Signer(STRANGER), TxKind::Create, code);
            let receipt = self.both.ok(create);
            implementations.push(receipt.contract_address.expect("a contract"));
        }
        let upgrade = |to| Core::upgradeToAndCallCall {
            newImplementation: to,
            data: no_bytes(),
        };
        self.both.fails::<Core::Core__NotDAO>(Tx::new(
            STRANGER,
            d.core,
            upgrade(implementations[0]),
        ));
        self.both
            .ok(Tx::by(d.timelock, d.core, upgrade(implementations[0])));
        self.both.fails::<Coordinator::Coordinator__NotDAO>(Tx::new(
            STRANGER,
            d.coordinator,
            upgrade(implementations[1]),
        ));
        self.both.ok(Tx::by(
            d.timelock,
            d.coordinator,
            upgrade(implementations[1]),
        ));
        // Neither the proxies nor what is behind them can be initialised again.
        for core in [d.core, implementations[0]] {
            self.both.fails::<Core::InvalidInitialization>(Tx::new(
                STRANGER,
                core,
                Core::initializeCall {
                    genesisNodes: vec![address(STRANGER)],
                    publicKeyHashes: vec![key_hash(STRANGER)],
                    networkNames: vec!["mine".into()],
                },
            ));
        }
        for coordinator in [d.coordinator, implementations[1]] {
            self.both
                .fails::<Coordinator::InvalidInitialization>(Tx::new(
                    STRANGER,
                    coordinator,
                    Coordinator::initializeCall {
                        interval: 60,
                        approvalPercent: 51,
                        genesisNodes: vec![address(STRANGER)],
                    },
                ));
        }
    }

    fn donations(&mut self) {
        let token = self.both.deployment.token;
        let donate = || {
            let sender = Sender::Signer(STRANGER);
            Tx::raw(sender, TxKind::Call(token), no_bytes()).paying(U256::from(SNO))
        };
        let sweep = || Tx::new(STRANGER, token, Token::sweepDonationsCall {});
        self.both.ok(donate());
        self.both.ok(sweep());
        self.both
            .fails::<Token::Token__InsufficientBalance>(sweep());
        // What the token will pay its own gas from.
        self.both.ok(donate());
    }

    fn the_token_asks_core(&mut self) {
        let d = self.both.deployment.clone();
        let slashed = Core::validatorSlashedCall {
            validator: address(1),
        };
        self.both
            .fails::<Core::Core__NotToken>(Tx::new(STRANGER, d.core, slashed.clone()));
        self.both.ok(Tx::by(d.token, d.core, slashed));
    }
}
