"""The emission model's trials in radCAD, beside the report's.

    python3 -m venv out/radcad && out/radcad/bin/pip install radcad==0.14.0 typing_extensions
    cargo reports emission --years 20 --trials 3 --out out/emission
    out/radcad/bin/python reports/benches/radcad_emission.py --years 20 --trials 3 --table out/emission/emission-trials.csv
    cargo bench -p smartnodes-reports --bench trials

Both draw the same random numbers and count in whole wei, so the supply at the end of every year must be the same; the
script stops where it is not. It prints the time for each trial; the ratio to what the benchmark prints is the one that
matters. Parameters are the defaults of `reports/src/emission/params.rs`.
"""

import argparse
import csv
import sys
import time
from collections import deque

from radcad import Engine, Experiment, Model, Simulation
from radcad.engine import Backend

SNO = 10**18
COLLATERAL = 1_000_000 * SNO
USER_COLLATERAL = 100 * SNO
CERTAIN = 1 << 32
CAPACITY = 10_000
YEAR = 365 * 24 * 3_600
INTERVAL = 8 * 3_600
UNLOCK = 30 * 24 * 3_600
SEATS = 3
SLASHED = 250_000 * SNO
MASK = (1 << 128) - 1


class Random:
    """PCG XSL RR 128/64, as the report's generator."""

    def __init__(self, seed, trial):
        self.increment = ((0x0A02BDBF7BB3C0A7AC28FA16A64ABF96 << 1) | 1) & MASK
        self.state = ((seed << 64 | trial) + self.increment) & MASK
        self.step()
        for _ in range(8):
            self.next()

    def step(self):
        self.state = (self.state * 0x2360ED051FC65DA44385DF649FCCF645 + self.increment) & MASK

    def next(self):
        self.step()
        rotation = self.state >> 122
        mixed = ((self.state >> 64) ^ self.state) & 0xFFFFFFFFFFFFFFFF
        return (mixed >> rotation | mixed << (64 - rotation)) & 0xFFFFFFFFFFFFFFFF

    def factor(self):
        return 2 * (self.next() >> 32)

    def happens(self, rate):
        return self.next() >> 32 < rate


def schedule():
    rate, per_update = 45_000 * SNO // 8, []
    # Until the tail and no longer: the last one holds for all later eras.
    for _ in range(7):
        per_update.append(rate * 8)
        rate = max(rate * 60 // 100, 3_360 * SNO // 8)
    return per_update


def genesis(seed, trial, years):
    random = Random(seed, trial)
    slashing = min(random.factor() * 50 // (100 * 1_095), CERTAIN)
    payment = 500 * SNO * random.factor() // CERTAIN
    share = lambda hundredths: min(random.factor() * hundredths // 10_000, CERTAIN)
    missed, idle, absent = share(100), share(100), share(500)
    forgotten = share(200) * CAPACITY // CERTAIN
    return {
        "rates": (slashing, payment, missed, idle, absent, CAPACITY - forgotten),
        "random": random,
        "end": years * YEAR,
        "supply": SEATS * COLLATERAL,
        "workers": 0,
        "active": SEATS,
        "user": False,
        "released": 0,
        "distributions": deque(),
        "unlocks": deque(),
        "updates": 0,
        "due": INTERVAL,
        "now": 0,
    }


def payments_in(left, payments, pool):
    return left * payments // pool if payments else 0


def period(params, substep, history, state):
    """A period, from one execution to the next; what it changes."""
    if state["due"] > state["end"]:
        return {}
    slashing, mean_payment, missed_rate, idle, absent, claiming = state["rates"]
    random, now = state["random"], state["now"]
    supply, workers, active = state["supply"], state["workers"], state["active"]
    unlocks, distributions = state["unlocks"], state["distributions"]
    while unlocks and unlocks[0] + INTERVAL <= now:
        unlocks.popleft()
    if random.happens(slashing) and active > 1:
        supply -= SLASHED
        active -= 1
        unlocks.append(now + UNLOCK)
    while active < SEATS and workers >= COLLATERAL:
        workers -= COLLATERAL
        active += 1
    user = state["user"]
    if not user and workers >= USER_COLLATERAL:
        user = True
        workers -= USER_COLLATERAL
    wanted = mean_payment * random.factor() // CERTAIN
    payment = min(wanted, workers) if user else 0
    missed = 0
    while missed < 1_000 and random.happens(missed_rate):
        missed += 1
    required = min(66 * active // 100 + 1, active)
    failed = 0
    while True:
        approvals = active - sum(random.happens(absent) for _ in range(active))
        if approvals >= required:
            break
        failed += 1
        if failed == 1_000:
            break
    worked = not random.happens(idle)
    workers -= payment
    late = (4 * missed + 3 * failed) * INTERVAL // 4
    now = state["due"] + late
    due = state["due"] + (late // INTERVAL + 1) * INTERVAL
    released = state["released"] + payment
    updates = state["updates"] + 1
    eras = params["schedule"]
    emission = eras[min((now - INTERVAL) // YEAR, len(eras) - 1)]
    payments = 0
    if worked:
        payments, released = released, 0
    pool = (emission + payments) * 85 // 100
    worker_payments = payments * 85 // 100
    supply += emission - (pool - worker_payments)
    while distributions and distributions[0][0] + 500 < updates:
        distributions.popleft()
    if worked:
        reward = pool * claiming // CAPACITY
        left = pool - reward
        handed_on = worker_payments - payments_in(left, worker_payments, pool)
        supply += reward - handed_on
        workers += reward
        distributions.append((updates, pool, worker_payments, left))
    return {
        "supply": supply,
        "workers": workers,
        "active": active,
        "user": user,
        "released": released,
        "updates": updates,
        "due": due,
        "now": now,
    }


def variable(name):
    return lambda params, substep, history, state, change: (name, change.get(name, state[name]))


def run(seed, trial, years):
    names = ["supply", "workers", "active", "user", "released", "updates", "due", "now"]
    blocks = [{"policies": {"period": period}, "variables": {name: variable(name) for name in names}}]
    model = Model(
        initial_state=genesis(seed, trial, years),
        state_update_blocks=blocks,
        params={"schedule": [schedule()]},
    )
    simulation = Simulation(model=model, timesteps=years * 1_095, runs=1)
    experiment = Experiment(simulation)
    # What radCAD can leave out is left out: no copies, no processes, no substeps.
    experiment.engine = Engine(backend=Backend.SINGLE_PROCESS, deepcopy=False, drop_substeps=True)
    return experiment.run()


def supplies(results, years):
    """Supply after the last update due in each year."""
    at_end = []
    for year in range(1, years + 1):
        done = [row for row, after in zip(results[1:], results) if after["due"] <= year * YEAR]
        at_end.append(done[-1]["supply"])
    return at_end


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=20)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", help="emission-trials.csv of a report with the same years and seed")
    arguments = parser.parse_args()
    expected = {}
    if arguments.table:
        with open(arguments.table, newline="") as file:
            for row in csv.DictReader(file):
                whole, _, fraction = row["supply_sno"].partition(".")
                expected[int(row["trial"]), int(row["year"])] = int(whole) * SNO + int(fraction.ljust(18, "0") or 0)
    taken, same = 0.0, 0
    for trial in range(arguments.trials):
        start = time.perf_counter()
        results = run(arguments.seed, trial, arguments.years)
        taken += time.perf_counter() - start
        for year, supply in enumerate(supplies(results, arguments.years), 1):
            if not expected:
                continue
            if expected.get((trial, year)) == supply:
                same += 1
            else:
                sys.exit(f"trial {trial}, year {year}: {supply} wei here, {expected.get((trial, year))} in the table")
    compared = f", {same} amounts the same as in the table" if expected else ""
    print(f"radCAD: {1e3 * taken / arguments.trials:.0f} ms for a trial of {arguments.years} years{compared}")


if __name__ == "__main__":
    main()
