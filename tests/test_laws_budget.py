"""Law 4: granted is what is available, reserved or spent; each reservation ends once."""

from __future__ import annotations

from hypothesis import given

from ledger.core import events as e
from ledger.core.budget import Budget
from ledger.core.events import Event, Record
from ledger.core.fold import fold, next_deadline
from ledger.core.shapes import Units
from ledger.core.state import KILL, LIVE, Run, State
from ledger.core.verdicts import TOKENS, UNITS, Verdict
from tests.runs import Told, runs
from tests.twin import Twin, recount


def reserved(budget: Budget) -> list[int]:
    return [budget.reserved(unit) for unit in range(len(UNITS))]


def spent(budget: Budget) -> list[int]:
    return [budget.spent(unit) for unit in range(len(UNITS))]


@given(runs())
def test_4_nothing_is_lost_between_granted_available_reserved_and_spent(told: Told) -> None:
    """Counters that drift enforced $111 against a real $56, and the other way round."""
    state = State(0)
    for record in told.records:
        fold(state, record)
        for run in state.runs.values():
            for budget in every_budget(run):
                for unit in range(len(UNITS)):
                    parts = budget.available(unit) + budget.reserved(unit) + budget.spent(unit)

                    assert budget.granted[unit] == parts
                    assert budget.reserved(unit) >= 0
                    assert budget.spent(unit) >= 0


def every_budget(run: Run) -> list[Budget]:
    budgets = [run.budget]
    for agent in run.agents.values():
        budgets.append(agent.budget)
        if agent.contract is not None:
            budgets.append(agent.contract)
    return budgets


@given(runs())
def test_4_the_slow_twin_counts_the_same_at_every_step(told: Told) -> None:
    """The fold keeps sums; whoever adds up the whole history must come to the same."""
    state, verdicts = State(0), list[Verdict | None]()
    for place, record in enumerate(told.records):
        verdicts.append(fold(state, record))
        if record.event.run == "r":
            twin = recount("r", told.policy, told.records[: place + 1], verdicts)
            run = state.runs.get("r")

            if twin.forgotten:  # Kept longer only for who waits to hear that it is quiet.
                assert run is None or not all(order.quiet for order in run.orders.values())
                return
            assert (run is None) == (not twin.started)
            if run is not None:
                agree(run, twin)


def agree(run: Run, twin: Twin) -> None:
    """Every number of the run is what the twin counts."""
    everybody = set(twin.members)
    assert set(run.agents) == everybody
    assert reserved(run.budget) == twin.reserved(everybody)
    assert spent(run.budget) == twin.spent(everybody | {""})
    assert run.live == twin.live()
    assert run.live_leased == twin.promised(everybody)
    assert {key: lease.left.tolist() for key, lease in run.leases.items()} == {
        key: held.left for key, held in twin.leases.items()
    }
    for name, agent in run.agents.items():
        assert (agent.status == LIVE) == twin.members[name].live
        assert reserved(agent.budget) == twin.reserved({name})
        assert spent(agent.budget) == twin.spent({name})
        assert agent.children_open == twin.open_children(name)
        assert agent.children_leased == twin.promised({name})
        assert bool((agent.latch | run.latch) & KILL) == twin.killed(name)
        assert (agent.contract is not None) == twin.members[name].contract
        if agent.contract is not None:
            assert reserved(agent.contract) == twin.reserved(twin.below(name))
            assert spent(agent.contract) == twin.spent(twin.below(name))


@given(runs())
def test_4_when_the_run_is_over_nothing_is_reserved(told: Told) -> None:
    """A reservation that nobody ends is money that nobody can use."""
    state, _ = told.judged()
    run = state.runs.get("r")
    if run is None:
        return
    end = told.records[-1]
    over = e.RunEnded(run="r")
    fold(state, Record(end.offset + 1, end.append_ms, over))

    assert not run.leases
    for budget in every_budget(run):
        assert reserved(budget) == [0] * len(UNITS)
    assert run.live_leased == 0


@given(runs())
def test_4_a_tick_moves_the_deadline_on(told: Told) -> None:
    """A tick that left its deadline where it was would make the judge write ticks for ever."""
    state, _ = told.judged()
    now_ms, offset = told.records[-1].append_ms, told.records[-1].offset
    ticks = 0
    while (due_ms := next_deadline(state, "r")) and ticks < 400:
        now_ms, offset, ticks = max(now_ms, due_ms), offset + 1, ticks + 1
        fold(state, Record(offset, now_ms, e.Ticked(run="r")))
        then_ms = next_deadline(state, "r")

        assert then_ms == 0 or then_ms > now_ms or state.runs["r"].jumped_ms

    assert "r" not in state.runs
    assert ticks < 60


def test_4_a_call_that_outlives_its_lease_keeps_its_tokens_and_no_more() -> None:
    """A model call of a minute outlives a lease of thirty seconds: nobody else may have its
    tokens meanwhile, and what it did not take comes back at its end."""
    told: list[tuple[int, Event]] = [
        (0, e.RunStarted(run="r", agent="lead", source="p")),
        (1, e.LeaseRequested(run="r", agent="lead", source="p",
                             wants=Units(model_calls=4, tokens=1_000))),
        (2, e.ModelCallStarted(run="r", agent="lead", call="m", model="large", lease="0-1",
                               tokens_estimate=400)),
        (40_000, e.Ticked(run="r")),
        (60_000, e.ModelCallEnded(run="r", agent="lead", call="m", input_tokens=300)),
    ]  # fmt: skip
    state, seen = State(0), []
    for offset, (at_ms, event) in enumerate(told):
        fold(state, Record(offset, at_ms, event))
        budget = state.runs["r"].budget
        seen.append((budget.reserved(TOKENS), budget.spent(TOKENS)))

    assert seen == [(0, 0), (1_000, 0), (1_000, 0), (400, 0), (0, 300)]
