//! The attacks on votes, quorum and proposals that the upstream contracts allowed, numbered as in their list of flaws:
//! each fails here, and succeeds against a variant of the contract that lacks what stops it.

mod contracts_support;

use contracts_support::*;
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;

#[test]
fn f02_three_of_five_do_not_execute_an_update() {
    attack_fails("f02", 5, |world| {
        let (hash, proposer) = world.proposed(0, &empty_update());
        for voter in 0..3 {
            world.vote(voter, 1, hash).expect("voted");
        }
        world.wait(INTERVAL / 16);
        world.execute(proposer, 1, &empty_update()).is_ok()
    });

    let mut world = World::new(5);
    let (hash, proposer) = world.proposed(0, &empty_update());
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    world.wait(INTERVAL / 16);
    assert_reverts::<Coordinator::Coordinator__NotEnoughVotes>(world.execute(
        proposer,
        1,
        &empty_update(),
    ));
    world.vote(3, 1, hash).expect("voted");
    world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
}
