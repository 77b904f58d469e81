//! Attacks on jobs, their payments and donations that worked against the upstream contracts: each fails here, and would
//! succeed against a variant that has the flaw.

mod contracts_support;

use alloy::primitives::{Bytes, TxKind, U256, keccak256};
use contracts_support::actors::*;
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{SmartnodesCore as Core, SmartnodesERC20 as Token};

/// A user that wishes the other no good.
const SQUATTER: u32 = 509;

fn escrowed(world: &World) -> Token::s_totalEscrowedReturn {
    world.token(Token::s_totalEscrowedCall {})
}

/// An update that completes these jobs for worker 501.
fn completing(world: &World, jobs: &[alloy::primitives::B256]) -> Completion {
    let id = world.status().nextDistributionId;
    let (tree, mut update) = work(id, &[(501, 1)]);
    update.jobIds = jobs.to_vec();
    Completion { id, tree, update }
}

struct Completion {
    id: u64,
    tree: smartnodes_evm::reward_tree::RewardTree,
    update: smartnodes_evm::state_update::StateUpdate,
}

#[test]
fn f38_a_payment_above_80_bits_is_paid_whole_and_blocks_nothing() {
    attack_fails("f38", 3, |world| {
        // 2^80 wei are 1.2 million SNO.
        world.grant_user(USER, sno(2_500_000));
        let payment = 1u128 << 80;
        let large = world.request_sno(keccak256("large"), payment + 5);
        let update = completing(world, &[large]).update;
        world.run_round(&VOTERS, &update);
        let stuck = escrowed(world).sno != 0;
        let exact = world.request_sno(keccak256("exact"), payment);
        let update = completing(world, &[exact]).update;
        let blocked = world.try_round(&VOTERS, &update).is_err();
        assert_eq!(stuck, blocked, "the flaw does both");
        if !stuck {
            assert_eq!(escrowed(world).sno, 0);
            world.assert_books();
        }
        stuck
    });
}

#[test]
fn f39_a_payment_in_sno_mints_nothing() {
    attack_fails("f39", 3, |world| {
        world.grant_user(USER, sno(1_000));
        let supply = world.token(Token::totalSupplyCall {});
        let job = world.request_sno(keccak256("job"), 100 * SNO);
        let Completion { id, tree, update } = completing(world, &[job]);
        world.run_round(&VOTERS, &update);
        claim(world, 501, id, 1, &tree).expect("claimed");
        assert_eq!(
            world.balance_of(501),
            sno(45_100) * U256::from(85) / U256::from(100)
        );
        let grown = world.token(Token::totalSupplyCall {}) - supply;
        if grown == sno(45_000) {
            world.assert_books();
        }
        grown > sno(45_000)
    });
}

#[test]
fn f42_nobody_takes_the_id_of_anothers_job() {
    attack_fails("f42", 3, |world| {
        let users = [USER, SQUATTER];
        world.grant(&users.map(|n| signer(n).address()), sno(1_000));
        for user in users {
            world.register_user(user);
        }
        let (core, hash) = (world.deployment.core, keccak256("job"));
        world
            .send(SQUATTER, core, request_of(SQUATTER, hash, 1))
            .expect("its own job");
        let request = world.send(USER, core, request_of(USER, hash, 50 * SNO));
        if request.is_ok() {
            let mine = world.core(Core::jobIdOfCall {
                owner: signer(USER).address(),
                jobHash: hash,
            });
            let job = world.core(Core::getJobCall { jobId: mine });
            assert_eq!((job.owner, job.payment), (signer(USER).address(), 50 * SNO));
            // Nor does it take the payment by a cancellation.
            world.wait(3 * INTERVAL);
            let cancel = Core::cancelJobCall { jobId: mine };
            assert_reverts::<Core::Core__NotJobOwner>(world.send(SQUATTER, core, cancel));
        }
        request.is_err()
    });
}

#[test]
fn f42_the_id_of_a_completed_job_is_never_used_again() {
    attack_fails("f42b", 3, |world| {
        world.grant_user(USER, sno(1_000));
        let (core, hash) = (world.deployment.core, keccak256("job"));
        let job = world.request_sno(hash, 5);
        let update = completing(world, &[job]).update;
        world.run_round(&VOTERS, &update);
        assert_eq!(world.core(Core::getJobCall { jobId: job }).state, 2);
        let again = world.send(USER, core, request_of(USER, hash, 5));
        if again.is_err() {
            assert_reverts::<Core::Core__JobExists>(again);
            return false;
        }
        true
    });
}

#[test]
fn f42_a_job_that_nobody_does_is_refunded() {
    attack_fails("f42c", 3, |world| {
        world.grant_user(USER, sno(1_000));
        let (core, user) = (world.deployment.core, signer(USER).address());
        let sno_before = world.balance_of(USER);
        let jobs = [
            world.request_sno(keccak256("sno"), 50 * SNO),
            world.request_eth(keccak256("eth"), 1_000),
        ];
        assert_eq!(world.balance_of(USER), sno_before - sno(50));
        let token_eth = eth(world, world.deployment.token);
        world.wait(3 * INTERVAL);
        for job in jobs {
            world
                .send(USER, core, Core::cancelJobCall { jobId: job })
                .expect("cancelled");
            assert_eq!(world.core(Core::getJobCall { jobId: job }).owner, user);
        }
        let lost = world.balance_of(USER) != sno_before;
        let eth_refunded = token_eth - eth(world, world.deployment.token);
        assert_eq!(lost, eth_refunded != U256::from(1_000), "both or none");
        assert_eq!(lost, escrowed(world).sno != 0);
        lost
    });
}

#[test]
fn f42_jobs_are_counted() {
    attack_fails("f42d", 3, |world| {
        world.grant_user(USER, sno(1_000));
        for name in ["one", "two"] {
            world.request_sno(keccak256(name), 1);
        }
        world.core(Core::getJobCountCall {}) != U256::from(2)
    });
}

#[test]
fn f43_donations_reach_the_treasury() {
    attack_fails("f43", 3, |world| {
        world.grant_user(USER, sno(1_000));
        let (token, timelock) = (world.deployment.token, world.deployment.timelock);
        // Escrowed ETH is none; what is sent, and what a contract forces on the token by its end, is.
        world.request_eth(keccak256("job"), 1_000);
        let donor = signer(0);
        world
            .chain
            .transact(
                &donor,
                TxKind::Call(token),
                Bytes::new(),
                U256::from(12_345),
            )
            .expect("donated");
        let force: Bytes = [&[0x73][..], token.as_slice(), &[0xff]].concat().into();
        world
            .chain
            .transact(&donor, TxKind::Create, force, U256::from(5))
            .expect("forced");
        assert_eq!(eth(world, token), U256::from(13_350));
        let before = eth(world, timelock);
        let swept = world.send(1, token, Token::sweepDonationsCall {});
        let arrived = eth(world, timelock) - before;
        assert_eq!(swept.is_ok(), arrived == U256::from(12_350));
        if swept.is_ok() {
            assert_eq!(eth(world, token), U256::from(1_000));
            let again = world.send(1, token, Token::sweepDonationsCall {});
            assert_reverts::<Token::Token__InsufficientBalance>(again);
            // SNO cannot be donated, for the token refuses itself.
            let to_itself = Token::transferCall {
                to: token,
                value: U256::from(1),
            };
            assert_reverts::<Token::Token__InvalidAddress>(world.send(USER, token, to_itself));
            world.assert_books();
        }
        arrived.is_zero()
    });
}
