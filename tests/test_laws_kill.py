"""Law 6: a kill is a latch and covers descendants, whoever gave it and whoever comes later."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core import events as e
from ledger.core.events import Event, Record
from ledger.core.fold import fold, next_deadline
from ledger.core.shapes import Action, Scope, Units
from ledger.core.state import DRAIN, KILL, PAUSE, Run, State
from ledger.core.verdicts import SPAWNS, Verdict
from tests.runs import TTL_MS, Told, runs
from tests.twin import Twin


class Talk:
    """A run `r` told by hand: one record a call, 10 ms apart, unnumbered unless said."""

    def __init__(self) -> None:
        self.state = State(0)
        self.offset, self.now_ms = 0, 1_000
        self.tell(e.RunStarted, "lead", source="p1")

    def tell(self, cls: type[Event], agent: str = "", **fields: Any) -> Verdict | None:
        self.offset, self.now_ms = self.offset + 1, self.now_ms + 10
        event = cls(**{"run": "r", "agent": agent, **fields})
        return fold(self.state, Record(self.offset, self.now_ms, event))

    @property
    def run(self) -> Run:
        return self.state.runs["r"]

    def order(self, action: Action, scope: Scope = "run", agent: str = "") -> Verdict | None:
        name = f"order-{self.offset}"
        return self.tell(e.OrderGiven, agent, order=name, action=action, scope=scope)

    def start(self, agent: str, parent: str, source: str = "p1") -> Verdict | None:
        return self.tell(e.AgentStarted, agent, parent=parent, source=source)

    def may_call(self, agent: str) -> bool:
        verdict = self.tell(e.ToolCallRequested, agent, call=f"c{self.offset}", tool="t")
        assert verdict is not None
        return verdict.lease is not None


@given(runs())
def test_6_nothing_in_the_scope_of_a_kill_is_granted(told: Told) -> None:
    """A killed parent left a child running for 30 minutes and 176 calls."""
    state, twin = State(0), Twin("r", told.policy)
    for record in told.records:
        verdict = fold(state, record)
        if record.event.run == "r":
            if verdict is not None and verdict.lease is not None:
                assert not twin.killed(verdict.lease.agent)
            twin.tell(record, verdict)


@given(runs())
def test_6_who_waits_or_drains_is_granted_no_more_than_that(told: Told) -> None:
    """A pause stops everything for a while; a drain lets what there is come to its end."""
    state = State(0)
    for record in told.records:
        run = state.runs.get("r")
        agent = None if run is None else run.agents.get(record.event.agent)
        latch = 0 if run is None or agent is None else run.latch | agent.latch
        verdict = fold(state, record)
        if verdict is not None and verdict.lease is not None and record.event.run == "r":
            assert not latch & (KILL | PAUSE)
            if latch & DRAIN:
                assert verdict.lease.units[SPAWNS] == 0


@given(runs(), st.sampled_from(["run", "subtree", "agent"]), st.sampled_from(["lead", "a", "new"]))
def test_6_no_resume_lifts_a_kill(told: Told, scope: Scope, target: str) -> None:
    """Who killed meant it; a program that resumes what it paused must not undo that."""
    state, _ = told.judged()
    run = state.runs.get("r")
    if run is None:
        return
    kill = e.OrderGiven(run="r", agent=target, order="kill-last", action="kill", scope=scope)
    offset, now_ms = told.records[-1].offset, told.records[-1].append_ms
    fold(state, Record(offset + 1, now_ms, kill))
    before = {name: (run.latch | a.latch) & KILL for name, a in run.agents.items()}
    lifts: list[tuple[Scope, str]] = [("run", ""), ("subtree", "lead"), ("agent", target)]
    for n, (wide, whom) in enumerate(lifts):
        resume = e.OrderGiven(run="r", agent=whom, order=f"r{n}", action="resume", scope=wide)
        fold(state, Record(offset + 2 + n, now_ms, resume))

    assert {name: (run.latch | a.latch) & KILL for name, a in run.agents.items()} == before


@pytest.mark.parametrize("scope", ["agent", "subtree"])
def test_6_an_id_is_latched_before_anybody_announced_it(scope: Scope) -> None:
    """An order and the first word of the agent it names race through different processes."""
    talk = Talk()
    talk.order("kill", scope, "late")
    talk.start("late", "lead")

    assert not talk.may_call("late")
    assert talk.may_call("lead")


def test_6_a_child_that_comes_late_is_under_the_kill_of_its_subtree() -> None:
    """Its start was under way when the order was given, and in another process."""
    talk = Talk()
    talk.start("a", "lead")
    talk.start("b", "a")
    talk.order("kill", "subtree", "a")
    talk.start("c", "b", source="elsewhere")
    talk.start("d", "c", source="elsewhere")

    assert not any(talk.may_call(name) for name in "abcd")
    assert talk.may_call("lead")


def test_6_the_kill_of_an_unknown_subtree_covers_who_comes_below_it() -> None:
    """The order names an agent nobody announced; it comes, and has children."""
    talk = Talk()
    talk.order("kill", "subtree", "a")
    talk.start("a", "lead")
    talk.start("b", "a")

    assert not talk.may_call("b")


def test_6_a_run_killed_before_its_first_word_is_born_killed() -> None:
    """The operator was faster than the run."""
    state = State(0)
    fold(state, Record(0, 10, e.OrderGiven(run="r", order="o", action="kill")))
    fold(state, Record(1, 20, e.RunStarted(run="r", agent="lead")))
    asked = e.ToolCallRequested(run="r", agent="lead", call="c", tool="t")
    verdict = fold(state, Record(2, 30, asked))

    assert verdict is not None
    assert verdict.decision == "deny"
    assert verdict.denial is not None
    assert verdict.denial.limit == "order.kill"


def test_6_a_rule_kills_as_a_person_does() -> None:
    """A runaway that goes on asking is killed by the policy, and its whole run with it."""
    talk = Talk()
    talk.start("a", "lead")
    killed = None
    for n in range(200):
        verdict = talk.tell(e.SpawnRequested, "a", child=f"x{n}")
        assert verdict is not None
        killed = verdict.orders[0] if verdict.orders else killed
        if verdict.lease is not None:
            talk.tell(e.AgentStarted, f"x{n}", parent="a", lease=verdict.lease.lease)

    assert killed is not None
    assert (killed.action, killed.scope) == ("kill", "run")
    assert not talk.may_call("lead")


def test_6_what_was_done_after_a_kill_is_counted() -> None:
    """Between the order and its arrival holders act; the bill says what."""
    talk = Talk()
    talk.start("a", "lead")
    talk.tell(e.ModelCallStarted, "a", call="m", model="big")
    talk.order("kill", "subtree", "a")
    talk.tell(e.ToolCallStarted, "a", call="t", tool="search")
    talk.start("b", "a")
    talk.tell(e.ModelCallEnded, "a", call="m", cost_microdollars=700)
    (order,) = talk.run.orders.values()

    assert order.acted_after == 3
    assert order.microdollars_after == 700


def test_6_an_order_is_quiet_when_all_answered() -> None:
    """Whoever waits for the kill wants to know when nobody acts any more, and not before."""
    talk = Talk()
    talk.start("a", "lead", source="p2")
    talk.tell(e.LeaseRequested, "a", source="p2", wants=Units(tool_calls=5))
    talk.order("kill")
    (order,) = talk.run.orders
    first = talk.tell(e.OrderReceipted, source="p1", order=order)
    assert first is None
    second = talk.tell(e.OrderReceipted, source="p2", order=order)

    assert second is not None
    assert second.quiet == (order,)
    assert talk.run.live == 0


def test_6_an_order_waits_for_who_holds_a_lease_and_announced_nobody() -> None:
    """An agent acts in a child process too, which took a lease of its own."""
    talk = Talk()
    lease = {"wants": Units(tool_calls=5)}
    talk.tell(e.LeaseRequested, "lead", source="p2", **lease)
    talk.order("kill")
    (order,) = talk.run.orders

    assert talk.tell(e.OrderReceipted, source="p1", order=order) is None
    assert talk.tell(e.Ticked) is None
    answered = talk.tell(e.OrderReceipted, source="p2", order=order)
    assert answered is not None
    assert answered.quiet == (order,)


def test_6_an_order_waits_for_no_dead_process() -> None:
    """One of two processes is proved dead before the other answers."""
    talk = Talk()
    talk.start("a", "lead", source="p2")
    talk.order("kill")
    (order,) = talk.run.orders
    assert talk.tell(e.HolderLost, holder="p1") is None
    answered = talk.tell(e.OrderReceipted, source="p2", order=order)

    assert answered is not None
    assert answered.quiet == (order,)


def test_6_an_order_waits_as_long_as_a_lease_for_an_answer() -> None:
    """Who holds no lease may still have calls in flight; he has time to stop them and say so."""
    talk = Talk()
    talk.order("kill")
    (order,) = talk.run.orders
    assert talk.tell(e.Ticked) is None
    assert next_deadline(talk.state, "r") == talk.run.orders[order].at_ms + 30_000

    talk.now_ms += 30_000
    late = talk.tell(e.Ticked)
    assert late is not None
    assert late.quiet == (order,)


@pytest.mark.parametrize("end", ["agent", "run", "kill"])
def test_6_a_lease_on_its_way_back_when_its_agent_ended_is_no_mistake(end: str) -> None:
    """The kill and the return cross: its client did what it was told, and is blamed for nothing."""
    talk = Talk()
    talk.start("a", "lead", source="p2")
    granted = talk.tell(e.LeaseRequested, "a", source="p2", wants=Units(tool_calls=5))
    assert granted is not None
    assert granted.lease is not None
    lease = {"source": "p2", "lease": granted.lease.lease, "left": Units(tool_calls=5)}
    if end == "kill":
        talk.order("kill", "subtree", "a")
        (order,) = talk.run.orders
        talk.tell(e.OrderReceipted, source="p2", order=order)
    else:
        talk.tell(e.AgentEnded if end == "agent" else e.RunEnded, "a")
    spent = talk.run.budget.used[:]

    assert not talk.run.leases
    assert talk.tell(e.LeaseReturned, "a", **lease) is None
    assert talk.run.budget.used == spent


def test_6_who_lives_returns_only_what_it_holds() -> None:
    """A return of what was never lent is a client that lost count."""
    refused = Talk().tell(e.LeaseReturned, "lead", lease="0-77")

    assert refused is not None
    assert refused.refusal == "lease 0-77 is not open"


@given(runs())
def test_6_an_order_is_quiet_only_when_nobody_in_its_scope_holds_a_lease(told: Told) -> None:
    """Quiet is a promise: nobody may act any more who did not say that he stopped."""
    state, twin = State(0), Twin("r", told.policy)
    answered: dict[str, set[str]] = {}
    for record in told.records:
        verdict = fold(state, record)
        event = record.event
        if event.run != "r":
            continue
        if isinstance(event, e.OrderReceipted):
            answered.setdefault(event.order, set()).add(event.source)
        for order_id in () if verdict is None else verdict.quiet:
            covered = [(scope, who) for o, scope, who in twin.kills if o == order_id]
            for held in twin.leases.values():
                inside = any(twin.covers(held.agent, scope, who) for scope, who in covered)
                lost = isinstance(event, e.HolderLost) and held.holder == event.holder
                if inside and not lost and held.holder not in answered.get(order_id, set()):
                    assert held.ran_out or held.expires_ms <= max(twin.now_ms, record.append_ms)
        twin.tell(record, verdict)


@given(runs())
def test_6_every_kill_becomes_quiet_by_itself(told: Told) -> None:
    """Processes that never answer must not keep an operator waiting for ever."""
    state, _ = told.judged()
    if "r" not in state.runs:
        return
    offset, now_ms = told.records[-1].offset + 1, told.records[-1].append_ms
    kill = e.OrderGiven(run="r", order="last", action="kill")
    fold(state, Record(offset, now_ms, kill))
    run, quiet = state.runs["r"], False
    given_ms = run.now_ms
    while not quiet and (due_ms := next_deadline(state, "r")):
        offset, now_ms = offset + 1, max(now_ms, due_ms)
        assert now_ms <= given_ms + TTL_MS + told.policy.lease.ttl_ms + 10
        verdict = fold(state, Record(offset, now_ms, e.Ticked(run="r")))
        quiet = verdict is not None and "last" in verdict.quiet

    assert quiet
    assert run.live == 0
