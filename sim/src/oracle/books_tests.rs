//! The rules, each kept once and broken once.

use super::*;

const SNO: u128 = 10u128.pow(18);
const INTERVAL: u64 = 28_800;
const DUE: u64 = 1_000 + INTERVAL;

fn account(n: u8) -> Address {
    Address::repeat_byte(n)
}

fn hash(n: u8) -> B256 {
    B256::repeat_byte(n)
}

/// Books after the deployment with three validators, and the truth behind them.
fn books() -> (Books, Truth) {
    let truth = Truth::default();
    let terms = Terms {
        genesis: 3,
        testnet: 0,
        deployed_at: 1_000,
        interval: INTERVAL,
        approval_percent: 66,
    };
    let mut books = Books::new(terms, truth.clone());
    let mut deployment: Vec<Seen> = (1..=3).map(|n| Seen::ValidatorAdded(account(n))).collect();
    deployment.extend((1..=3).map(|_| Seen::Minted(U256::from(GENESIS_EACH))));
    assert_eq!(books.transaction(1_000, &deployment), []);
    (books, truth)
}

fn voted(round: u64, votes: &[(u8, u8)]) -> Vec<Seen> {
    let mut seen = vec![Seen::RoundOpened {
        round,
        snapshot: 3,
        required: 2,
    }];
    let cast = |(who, what): &(u8, u8)| Seen::Voted {
        round,
        validator: account(*who),
        proposal: hash(*what),
    };
    seen.extend(votes.iter().map(cast));
    seen
}

/// An executed update that pays so much capacity for these jobs, as the contracts would log it; validators 1 and 2 have
/// voted for it.
fn update(round: u64, capacity: u64, jobs: &[B256], payments: u128) -> Vec<Seen> {
    update_by(&[1, 2], round, capacity, jobs, payments)
}

/// The same where others have voted.
fn update_by(voters: &[u8], round: u64, capacity: u64, jobs: &[B256], payments: u128) -> Vec<Seen> {
    let pool = 45_000 * SNO + payments;
    let minted = 45_000 * SNO - (pool * 85 / 100 - payments * 85 / 100);
    let mut seen = vec![Seen::ExecuteCall {
        capacity: U256::from(capacity),
        jobs: jobs.to_vec(),
    }];
    if payments != 0 {
        seen.extend(jobs.iter().map(|job| Seen::JobCompleted {
            job: *job,
            payment: payments,
            sno: true,
        }));
    }
    seen.push(Seen::Distributed {
        id: round,
        pool: U256::from(pool),
    });
    seen.push(Seen::Minted(U256::from(minted)));
    let share = pool * 10 / 100 / (voters.len() as u128).max(1);
    let validators = voters.iter().map(|voter| (*voter, share));
    // The last is the treasury.
    for (who, amount) in validators.chain([(200, pool * 5 / 100)]) {
        seen.push(Seen::Paid {
            to: account(who),
            amount: U256::from(amount),
        });
    }
    seen.push(Seen::Executed {
        round,
        proposal: hash(9),
        distribution: round,
    });
    seen
}

fn claim(id: u64, who: u8, capacity: u64, amount: u128, minted: u128) -> Vec<Seen> {
    vec![
        Seen::ClaimCall {
            id,
            account: account(who),
            capacity: U256::from(capacity),
        },
        Seen::Claimed {
            id,
            account: account(who),
            amount: U256::from(amount),
        },
        Seen::Minted(U256::from(minted)),
    ]
}

fn names(broken: &[Broken]) -> Vec<&'static str> {
    broken.iter().map(|(name, _)| *name).collect()
}

/// One honest round: two workers computed 60 and 40, one of them job 7.
fn one_update() -> (Books, Truth) {
    let (mut books, truth) = books();
    truth.submitted(hash(7), 1);
    truth.computed(hash(1), account(11), 60, Some((hash(7), 0)));
    truth.computed(hash(2), account(12), 40, None);
    assert_eq!(books.transaction(DUE, &voted(1, &[(1, 9), (2, 9)])), []);
    assert_eq!(books.transaction(DUE, &update(1, 100, &[hash(7)], 0)), []);
    (books, truth)
}

#[test]
fn an_honest_story_breaks_nothing() {
    let (mut books, truth) = one_update();
    let pool = 38_250 * SNO;
    assert_eq!(
        books.transaction(DUE, &claim(1, 11, 60, pool * 60 / 100, pool * 60 / 100)),
        []
    );
    assert_eq!(
        books.tally(),
        Tally {
            state_updates: 1,
            claims: 1,
            unclaimed_capacity: 40,
            open_jobs: 0,
            required_approvals: 2,
            rounds_opened: 1,
            rounds_lost: 0,
            last_round: 1,
        }
    );

    let escrowed = Seen::JobCreated {
        job: hash(8),
        payment: 50 * SNO,
        sno: true,
    };
    assert_eq!(books.transaction(DUE, &[escrowed]), []);
    truth.submitted(hash(8), 1);
    truth.computed(hash(3), account(12), 10, Some((hash(8), 0)));
    assert_eq!(books.transaction(DUE, &voted(2, &[(1, 9), (2, 9)])), []);
    assert_eq!(
        books.transaction(DUE, &update(2, 10, &[hash(8)], 50 * SNO)),
        []
    );
    let pool = (45_050 * SNO) * 85 / 100;
    assert_eq!(
        books.transaction(DUE, &claim(2, 12, 10, pool, pool - 50 * SNO * 85 / 100)),
        []
    );

    let burned = U256::ZERO;
    let supply = U256::from(3 * GENESIS_EACH)
        + U256::from(2 * 6_750 * SNO)
        + U256::from(38_250 * SNO)
        + U256::from(38_250 * SNO * 60 / 100)
        - burned;
    let balances = Balances {
        supply,
        unclaimed: 38_250 * SNO * 40 / 100,
        last_distribution: U256::from(2),
        ..Balances::default()
    };
    assert_eq!(books.compare(&balances), []);
    for wrong in [
        Balances {
            supply: supply + U256::ONE,
            ..balances.clone()
        },
        Balances {
            unclaimed: 1,
            ..balances.clone()
        },
        Balances {
            escrowed: 1,
            ..balances.clone()
        },
        Balances {
            escrowed_eth: 1,
            ..balances.clone()
        },
        Balances {
            last_distribution: U256::from(3),
            ..balances.clone()
        },
    ] {
        assert_eq!(books.compare(&wrong).len(), 1, "{wrong:?}");
    }
}

#[test]
fn voters_that_are_not_paid_alike_and_dust_that_goes_elsewhere_are_seen() {
    let story = |change: &dyn Fn(&mut Vec<Seen>)| {
        let (mut books, truth) = books();
        truth.computed(hash(1), account(11), 100, None);
        assert_eq!(books.transaction(DUE, &voted(1, &[(1, 9), (2, 9)])), []);
        let mut update = update(1, 100, &[], 0);
        change(&mut update);
        names(&books.transaction(DUE, &update)).join(" ")
    };
    assert_eq!(story(&|_| {}), "");
    let first = |update: &mut Vec<Seen>| {
        let paid = update.iter_mut().find_map(|event| match event {
            Seen::Paid { amount, .. } => Some(amount),
            _ => None,
        });
        *paid.expect("somebody is paid") += U256::ONE;
    };
    assert_eq!(story(&first), "voters-paid-alike");
    let paid = |who: u8| Seen::Paid {
        to: account(who),
        amount: U256::ONE,
    };
    assert_eq!(story(&|update| update.push(paid(2))), "voters-paid-alike");
    assert_eq!(story(&|update| update.push(paid(3))), "voters-paid-alike");
    // The treasury may have its part in pieces.
    assert_eq!(story(&|update| update.push(paid(200))), "");

    // Whom the update removes is paid for its vote like the others.
    let (mut books, truth) = books();
    truth.computed(hash(1), account(11), 100, None);
    books.transaction(DUE, &voted(1, &[(1, 9), (2, 9), (3, 9)]));
    let mut removing = update_by(&[1, 2, 3], 1, 100, &[], 0);
    removing.insert(1, Seen::ValidatorRemoved(account(3)));
    assert_eq!(books.transaction(DUE, &removing), []);
}

#[test]
fn what_has_expired_is_nobodys_and_cannot_be_claimed() {
    let (mut books, _) = one_update();
    let pool = 38_250 * SNO;
    assert_eq!(
        books.transaction(DUE, &claim(1, 11, 60, pool * 60 / 100, pool * 60 / 100)),
        []
    );
    let early = books.transaction(DUE, &[Seen::Expired { id: 1 }]);
    assert_eq!(names(&early), ["expires-in-time"]);

    let (mut books, _) = one_update();
    for round in 2..=501 {
        books.transaction(DUE, &voted(round, &[(1, 9), (2, 9)]));
        books.transaction(DUE, &update(round, 0, &[], 0));
    }
    assert_eq!(books.tally().unclaimed_capacity, 100);
    books.transaction(DUE, &voted(502, &[(1, 9), (2, 9)]));
    let mut last = update(502, 0, &[], 0);
    last.insert(2, Seen::Expired { id: 1 });
    assert_eq!(names(&books.transaction(DUE, &last)), [] as [&str; 0]);
    assert_eq!(books.tally().unclaimed_capacity, 0);
    let late = books.transaction(DUE, &claim(1, 11, 60, pool * 60 / 100, pool * 60 / 100));
    assert!(names(&late).contains(&"claims-within-pool"), "{late:?}");
}

fn proposed(number: u64, what: u8) -> Seen {
    Seen::Proposed {
        number,
        proposal: hash(what),
    }
}

#[test]
fn a_proposal_that_takes_the_place_of_another_is_seen() {
    let (mut books, _) = books();
    books.transaction(DUE, &voted(1, &[]));
    assert_eq!(
        books.transaction(DUE, &[proposed(1, 8), proposed(2, 9)]),
        []
    );
    let again = books.transaction(DUE, &[proposed(1, 7)]);
    assert_eq!(names(&again), ["proposals-stay"]);
}

#[test]
fn votes_on_chain_that_nobody_has_cast_or_that_are_gone_are_seen() {
    let (mut books, _) = books();
    books.transaction(DUE, &voted(1, &[]));
    books.transaction(DUE, &[proposed(1, 8), proposed(2, 9)]);
    let cast = voted(1, &[(1, 9), (2, 9), (3, 8)]);
    assert_eq!(books.transaction(DUE, &cast[1..]), []);
    let seen = |books: &Books, proposals: &[(u8, u64)]| {
        let proposals: Vec<_> = proposals.iter().map(|(h, n)| (hash(*h), *n)).collect();
        let mut broke = Broke::default();
        books.compare_votes(&proposals, &mut broke);
        broke.broken.len()
    };
    assert_eq!(seen(&books, &[(8, 1), (9, 2)]), 0);
    for wrong in [&[(8, 1), (9, 3)][..], &[(8, 0), (9, 2)], &[(9, 2)]] {
        assert_eq!(seen(&books, wrong), 1, "{wrong:?}");
    }
    // Who leaves takes its vote along.
    books.transaction(DUE, &[Seen::ValidatorRemoved(account(2))]);
    assert_eq!(seen(&books, &[(8, 1), (9, 2)]), 1);
    assert_eq!(seen(&books, &[(8, 1), (9, 1)]), 0);
    // An expired round shows nothing.
    assert_eq!(seen(&books, &[]), 0);
}

#[test]
fn capacity_that_nobody_computed_is_seen() {
    let (mut books, truth) = books();
    truth.computed(hash(1), account(11), 100, None);
    books.transaction(DUE, &voted(1, &[(1, 9), (2, 9)]));
    assert_eq!(
        names(&books.transaction(DUE, &update(1, 101, &[], 0))),
        ["executed-is-true"]
    );
}

#[test]
fn a_leaf_larger_than_the_work_is_seen_when_it_is_claimed() {
    let (mut books, _) = one_update();
    let share = 38_250 * SNO * 41 / 100;
    assert_eq!(
        names(&books.transaction(DUE, &claim(1, 12, 41, share, share))),
        ["executed-is-true"]
    );
}

#[test]
fn a_job_that_was_not_done_or_not_asked_for_is_seen() {
    for submitted in [false, true] {
        let (mut books, truth) = books();
        truth.computed(hash(1), account(11), 100, None);
        if submitted {
            truth.submitted(hash(7), 2);
            truth.computed(hash(1), account(11), 100, Some((hash(7), 0)));
        }
        books.transaction(DUE, &voted(1, &[(1, 9), (2, 9)]));
        assert_eq!(
            names(&books.transaction(DUE, &update(1, 100, &[hash(7)], 0))),
            ["executed-is-true"]
        );
    }
}

#[test]
fn an_execution_without_enough_votes_is_seen() {
    for votes in [vec![], vec![(1, 9)], vec![(1, 9), (2, 8)]] {
        let (mut books, truth) = books();
        truth.computed(hash(1), account(11), 100, None);
        assert_eq!(books.transaction(DUE, &voted(1, &votes)), []);
        let voters: Vec<u8> = votes
            .iter()
            .filter(|(_, what)| *what == 9)
            .map(|(who, _)| *who)
            .collect();
        assert_eq!(
            names(&books.transaction(DUE, &update_by(&voters, 1, 100, &[], 0))),
            ["approved"],
            "{votes:?}"
        );
    }
}

#[test]
fn votes_of_strangers_of_leavers_and_second_votes_are_seen() {
    let (mut books, _) = books();
    books.transaction(DUE, &[Seen::ValidatorRemoved(account(3))]);
    let broken = books.transaction(DUE, &voted(1, &[(1, 9), (1, 9), (3, 9), (4, 9)]));
    assert_eq!(names(&broken), ["votes-of-the-snapshot"; 4], "{broken:?}");

    let (mut left, truth) = self::books();
    truth.computed(hash(1), account(11), 100, None);
    left.transaction(DUE, &voted(1, &[(1, 9), (2, 9)]));
    left.transaction(DUE, &[Seen::ValidatorRemoved(account(1))]);
    // Two remain, two are required, one vote is left.
    assert_eq!(
        names(&left.transaction(DUE, &update_by(&[2], 1, 100, &[], 0))),
        ["approved"]
    );
}

#[test]
fn an_honest_vote_for_what_is_made_up_is_seen_and_a_liars_is_not() {
    let (mut books, truth) = books();
    truth.made_up(hash(9));
    truth.does_not_play_by_the_rules(account(1));
    assert_eq!(books.transaction(DUE, &voted(1, &[(1, 9), (2, 8)])), []);
    let honest = Seen::Voted {
        round: 1,
        validator: account(3),
        proposal: hash(9),
    };
    let broken = books.transaction(DUE, &[honest]);
    assert_eq!(names(&broken), ["honest-vote-is-true"]);
    let broken = books.transaction(DUE, &update(1, 0, &[], 0));
    assert_eq!(names(&broken).first(), Some(&"executed-is-true"));
}

#[test]
fn a_lower_threshold_is_seen() {
    let (mut books, _) = books();
    let broken = books.transaction(
        DUE,
        &[Seen::RoundOpened {
            round: 1,
            snapshot: 3,
            required: 1,
        }],
    );
    assert_eq!(names(&broken), ["approved"]);
}

#[test]
fn a_second_execution_in_a_round_is_seen() {
    let (mut books, truth) = one_update();
    truth.computed(hash(3), account(12), 100, None);
    let broken = names(&books.transaction(DUE, &update(1, 100, &[], 0)));
    assert!(broken.contains(&"one-execution-a-round"), "{broken:?}");
    assert!(
        broken.contains(&"distribution-ids-without-gaps"),
        "{broken:?}"
    );
}

#[test]
fn wrong_amounts_are_seen() {
    let (mut books, truth) = books();
    truth.computed(hash(1), account(11), 100, None);
    books.transaction(DUE, &voted(1, &[(1, 9), (2, 9)]));
    let mut more = update(1, 100, &[], 0);
    more.push(Seen::Minted(U256::ONE));
    assert_eq!(names(&books.transaction(DUE, &more)), ["supply"]);

    let (mut books, _) = one_update();
    let share = 38_250 * SNO * 60 / 100;
    assert_eq!(
        names(&books.transaction(DUE, &claim(1, 11, 60, share + 1, share + 1))),
        ["claim-is-the-share"]
    );
    assert_eq!(
        names(&books.transaction(DUE, &claim(1, 12, 40, share, share - 1))),
        ["claim-is-the-share", "claims-within-pool", "supply",]
    );
    assert_eq!(
        names(&books.transaction(DUE, &[Seen::Minted(U256::ONE)])),
        ["supply"]
    );
}

#[test]
fn a_second_claim_is_seen() {
    let (mut books, truth) = one_update();
    truth.computed(hash(3), account(12), 100, None);
    let share = 38_250 * SNO * 40 / 100;
    assert_eq!(books.transaction(DUE, &claim(1, 12, 40, share, share)), []);
    assert_eq!(
        names(&books.transaction(DUE, &claim(1, 12, 40, share, share))),
        ["one-claim-each"]
    );
}

#[test]
fn an_escrow_that_changes_on_the_way_is_seen() {
    let (mut books, _) = books();
    let created = Seen::JobCreated {
        job: hash(8),
        payment: 50,
        sno: true,
    };
    assert_eq!(books.transaction(DUE, std::slice::from_ref(&created)), []);
    let completed = Seen::JobCompleted {
        job: hash(8),
        payment: 51,
        sno: true,
    };
    assert_eq!(names(&books.transaction(DUE, &[completed])), ["escrow"]);
    assert_eq!(
        names(&books.transaction(DUE, &[Seen::JobCancelled { job: hash(8) }])),
        ["escrow"]
    );
    books.transaction(DUE, std::slice::from_ref(&created));
    assert_eq!(
        names(&books.transaction(DUE, &[created])),
        ["job-id-used-once"]
    );
}
