//! The token as a token: transfers, permits, delegation, the testnet's rewards.

use alloy::{
    primitives::{Address, B256, U256},
    signers::SignerSync,
    sol,
    sol_types::{Eip712Domain, SolStruct, eip712_domain},
};
use smartnodes_evm::bindings::SmartnodesERC20 as Token;

use crate::{
    SECOND_WORKER, STRANGER, Story,
    both::Tx,
    contracts_support::{FIRST_WORKER, USER, signer, sno},
    testnet_leaf,
};

sol! {
    /// ERC-2612.
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }

    /// OpenZeppelin's `Votes`.
    struct Delegation {
        address delegatee;
        uint256 nonce;
        uint256 expiry;
    }
}

/// A typed-data signature, in the parts that the token's functions take.
fn sign(by: u32, domain: &Eip712Domain, message: &impl SolStruct) -> (u8, B256, B256) {
    let signature = signer(by)
        .sign_hash_sync(&message.eip712_signing_hash(domain))
        .expect("a local key signs");
    (
        27 + u8::from(signature.v()),
        signature.r().into(),
        signature.s().into(),
    )
}

fn address(n: u32) -> Address {
    signer(n).address()
}

impl Story {
    pub fn token(&mut self) {
        self.transfers();
        self.signatures();
        self.testnet_rewards();
    }

    fn transfers(&mut self) {
        let token = self.both.deployment.token;
        let approve = |spender, value| Token::approveCall { spender, value };
        self.both
            .ok(Tx::new(USER, token, approve(address(STRANGER), sno(50))));
        self.both.fails::<Token::ERC20InvalidSpender>(Tx::new(
            USER,
            token,
            approve(Address::ZERO, sno(50)),
        ));
        let transfer = |to, value| Token::transferCall { to, value };
        self.both
            .ok(Tx::new(USER, token, transfer(address(STRANGER), sno(10))));
        self.both.fails::<Token::Token__InvalidAddress>(Tx::new(
            USER,
            token,
            transfer(token, sno(10)),
        ));
        self.both.fails::<Token::ERC20InsufficientBalance>(Tx::new(
            STRANGER,
            token,
            transfer(address(USER), sno(11)),
        ));
        let pull = |value| Token::transferFromCall {
            from: address(USER),
            to: address(FIRST_WORKER),
            value,
        };
        self.both.ok(Tx::new(STRANGER, token, pull(sno(20))));
        self.both
            .fails::<Token::ERC20InsufficientAllowance>(Tx::new(STRANGER, token, pull(sno(40))));
        let delegate = Token::delegateCall {
            delegatee: address(0),
        };
        self.both.ok(Tx::new(USER, token, delegate.clone()));
        self.both.refuses_eth(Tx::new(USER, token, delegate));
    }

    fn signatures(&mut self) {
        let token = self.both.deployment.token;
        let domain = eip712_domain! {
            name: "Smartnodes",
            version: "1",
            chain_id: self.both.deployment.chain_id,
            verifying_contract: token,
        };
        let nonce = |story: &Self, n| {
            story
                .both
                .read(token, &Token::noncesCall { owner: address(n) })
        };
        let permit = |story: &Self, deadline| {
            let message = Permit {
                owner: address(USER),
                spender: address(STRANGER),
                value: sno(60),
                nonce: nonce(story, USER),
                deadline,
            };
            let (v, r, s) = sign(USER, &domain, &message);
            Token::permitCall {
                owner: message.owner,
                spender: message.spender,
                value: message.value,
                deadline,
                v,
                r,
                s,
            }
        };
        let delegate = |story: &Self, expiry| {
            let message = Delegation {
                delegatee: address(USER),
                nonce: nonce(story, FIRST_WORKER),
                expiry,
            };
            let (v, r, s) = sign(FIRST_WORKER, &domain, &message);
            Token::delegateBySigCall {
                delegatee: message.delegatee,
                nonce: message.nonce,
                expiry,
                v,
                r,
                s,
            }
        };
        let (past, future) = (
            U256::from(self.both.ours.timestamp() - 1),
            U256::from(self.both.ours.timestamp() + 3_600),
        );
        let call = permit(self, past);
        self.both
            .fails::<Token::ERC2612ExpiredSignature>(Tx::new(STRANGER, token, call));
        let call = permit(self, future);
        self.both.ok(Tx::new(STRANGER, token, call.clone()));
        // Its nonce is used, so the same bytes recover to somebody else.
        self.both
            .fails::<Token::ERC2612InvalidSigner>(Tx::new(STRANGER, token, call));
        let call = delegate(self, past);
        self.both
            .fails::<Token::VotesExpiredSignature>(Tx::new(STRANGER, token, call));
        let call = delegate(self, future);
        self.both.ok(Tx::new(STRANGER, token, call));
    }

    fn testnet_rewards(&mut self) {
        let token = self.both.deployment.token;
        let [(first, amount), (second, other)] = self.testnet;
        assert_eq!((first, second), (FIRST_WORKER, SECOND_WORKER));
        let claim = |amount| {
            Tx::new(
                first,
                token,
                Token::claimTestnetRewardsCall {
                    amount,
                    proof: vec![testnet_leaf(address(second), other)],
                },
            )
        };
        self.both
            .fails::<Token::Token__InvalidMerkleProof>(claim(amount + U256::ONE));
        self.both.ok(claim(amount));
        self.both
            .fails::<Token::Token__RewardsAlreadyClaimed>(claim(amount));
    }
}
