"""Law 5: no overshoot, however many clients race, stall, die or come back."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ledger.core import events as e
from ledger.core.events import Event, Record
from ledger.core.fold import fold
from ledger.core.shapes import Units
from ledger.core.state import LIVE, State
from tests.world import CROWDED, MOVES, PROCESSES, World

small = st.integers(0, 9)
step = st.tuples(st.integers(0, len(MOVES) - 1), st.integers(0, PROCESSES - 1), small, small)


@given(st.lists(step, max_size=12) | st.lists(step, min_size=40, max_size=120))
def test_5_no_limit_is_exceeded_whatever_happens_to_the_processes(
    steps: list[tuple[int, int, int, int]],
) -> None:
    """A cap of $0.45 spent $0.60 by check-then-act; a cap of 10 gave 14 across parent and child.

    Counted is what was done, not what was recorded: late, lost and never.
    """
    world = World()
    for one in steps:
        world.play(one)
        world.check()


def test_5_the_limits_are_reached_by_who_pushes() -> None:
    """The law above is worth something only where the limits are met: here they all are."""
    acts = (World.ask, World.exchange, World.call_tool, World.call_model, World.start, World.end)
    pushing = [kind for kind, move in enumerate(MOVES) if move in acts]
    most = [0, 0, 0]
    for seed in range(20):
        dice, world = random.Random(seed), World()
        for _ in range(300):
            kind = dice.choice(pushing)
            world.play((kind, dice.randrange(PROCESSES), dice.randrange(10), dice.randrange(10)))
            world.check()
            beings = world.beings.values()
            done = [sum(b.done[unit] for b in beings) for unit in range(3)]
            most = [max(pair) for pair in zip(most, (done[0] + 1, *done[1:]), strict=True)]

    run = CROWDED.run
    assert most == [run.agents_max, run.tool_calls_max, run.model_calls_max]


def test_5_a_process_that_dies_takes_no_lease_of_another_with_it() -> None:
    """A parent was killed and its child, in another process, ran on for half an hour.

    Its places are taken as long as it may start agents on its lease.
    """
    state = State(0)
    state.policies[CROWDED.digest] = CROWDED
    told: list[Event] = [
        e.RunStarted(run="r", agent="lead", source="p0", policy=CROWDED.digest),
        e.AgentStarted(run="r", agent="a", parent="lead", source="p1"),
        e.LeaseRequested(run="r", agent="a", source="p2", wants=Units(spawns=2)),
        e.HolderLost(run="r", holder="p1"),
    ]
    for offset, event in enumerate(told):
        fold(state, Record(offset, 1_000, event))
    run = state.runs["r"]

    assert run.live_leased == 2
    assert run.agents["a"].status == LIVE

    fold(state, Record(10, 1_000, e.HolderLost(run="r", holder="p2")))
    assert run.live_leased == 0
    assert run.agents["a"].status != LIVE
