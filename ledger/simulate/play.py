"""The ways to run a scenario: alone, watched, compared, or as one of a fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from random import Random

from ledger.core.policy import DEFAULT, Policy
from ledger.core.verdicts import Verdict
from ledger.simulate import scenarios
from ledger.simulate.report import Comparison, Earliness, SimulationReport, command
from ledger.simulate.scenario import SCENARIOS, Scenario, find
from ledger.simulate.stage import Stage
from ledger.simulate.world import Step, World

MIX: Mapping[str, int] = {
    "research_team": 40,
    "simple_fact": 25,
    "comparison": 15,
    "wide_batch": 8,
    "handoff_pipeline": 5,
    "polling_job": 3,
    "flaky_upstream": 2,
    "fan_out_242": 1,
    "reverified": 1,
}
"""How many runs of a hundred are what, in a fleet of no particular company."""
SPREAD_MS = 2_000
"""A fleet starts a run every so often, on average."""

assert scenarios.LOADED


def catalogue() -> tuple[Scenario, ...]:
    """Every scenario, sick ones first, in the order of the catalogue's files."""
    return tuple(sorted(SCENARIOS.values(), key=lambda s: not s.sick))


def records(
    name: str, seed: int, policy: Policy | None = None, *, latch_ms: int = 5, round_trip_ms: int = 2
) -> Iterator[Step]:
    """The log of one run as it is written: (record, verdict or None) in order of offsets.

    Without a policy nothing is asked for and nothing refused, and events have grade
    `observed`. With one, the first record is the policy's text. Raises UnknownScenario.
    """
    watched = policy is not None
    world = World(policy, watched=watched, latch_ms=latch_ms, round_trip_ms=round_trip_ms)
    return _play(world, Stage(world, find(name), seed, f"{name}-{seed}"))


def simulate(
    name: str, seed: int, policy: Policy | None = None, *, latch_ms: int = 5, round_trip_ms: int = 2
) -> SimulationReport:
    """Run a scenario to its end. `policy` None: unwatched, nothing is refused.

    An answer of the judge takes `round_trip_ms`, an order `latch_ms` to reach a process.
    Raises UnknownScenario.
    """
    world = World(
        policy, watched=policy is not None, latch_ms=latch_ms, round_trip_ms=round_trip_ms
    )
    return _report(world, name, seed)


def compare(name: str, seed: int, policy: Policy = DEFAULT) -> Comparison:
    """A scenario left alone and under the ledger, and how early findings speak.

    Earliness is that of a judge who looks on while nothing is refused.
    """
    unwatched = simulate(name, seed)
    looked_on = _report(World(policy, watched=False), name, seed)
    wasted = unwatched.calls_wasted
    early = []
    for finding in looked_on.spoke():
        first = next(f for f in looked_on.findings if f.name == finding)
        before = first.calls_wasted_before
        ahead = 1_000 - 1_000 * before // wasted if wasted else None
        early.append(Earliness(finding, first.first_ms, before, wasted, ahead))
    return Comparison(unwatched, simulate(name, seed, policy), tuple(early))


def fleet(
    n_runs: int,
    seed: int,
    mix: Mapping[str, int] = MIX,
    policy: Policy | None = DEFAULT,
    *,
    spread_ms: int = SPREAD_MS,
) -> Iterator[Step]:
    """Many runs interleaved in one log: `mix` maps scenarios to their share (any whole numbers).

    A run starts every `spread_ms` on average; each has a seed of its own.
    Raises UnknownScenario.
    """
    world = World(policy, watched=policy is not None)
    random = Random(f"fleet {seed}")
    kinds = [find(name) for name in mix]
    chosen = random.choices(kinds, weights=list(mix.values()), k=n_runs)
    stages: dict[str, Stage] = {}
    for number, scenario in enumerate(chosen):
        run = f"{scenario.name}-{seed}-{number}"
        stages[run] = Stage(world, scenario, random.getrandbits(32), run)
        world.after(random.randrange(n_runs * spread_ms + 1), stages[run].open)
    return world.steps(partial(_heed, stages))


def _report(world: World, name: str, seed: int) -> SimulationReport:
    stage = Stage(world, find(name), seed, f"{name}-{seed}")
    for _ in _play(world, stage):
        pass
    return stage.tally.report()


def _play(world: World, stage: Stage) -> Iterator[Step]:
    stage.open()
    try:
        yield from world.steps(partial(_heed, {stage.run: stage}))
    except Exception as problem:
        problem.add_note(f"repeat it: {command(stage.scenario.name, stage.seed)}")
        raise


def _heed(stages: Mapping[str, Stage], run: str, verdict: Verdict | None) -> None:
    stage = stages[run]
    stage.tally.wrote(verdict)
    if verdict is not None:
        stage.heed(verdict)
