"""What the recorded histories are made of: scripted runs, each with its policy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from ledger.core import events as e
from ledger.core.events import EVENT_TYPES, Event, Record
from ledger.core.fold import fold
from ledger.core.policy import DEFAULT, Policy
from ledger.core.shapes import Contract, Step, Units
from ledger.core.state import State
from ledger.core.verdicts import Verdict
from ledger.simulate import fleet, records
from tests.runs import MOVES, ROOMY, SHADOW, TIGHT, tell

Told = Iterable[tuple[Record, Verdict | None]]


def _rough(seed: int, pinned: Policy) -> Told:
    """A rough run: leases that run out, orders, deaths, gaps, events that cannot follow."""
    dice = random.Random(seed)
    roll = dice.randrange
    made = [(roll(len(MOVES)), roll(12), roll(10), roll(10), roll(60)) for _ in range(400)]
    told = tell(made, pinned)
    return zip(told.records, told.judged()[1], strict=True)


def _by(source: str, cls: type[Event], *, agent: str = "", **fields: Any) -> Event:
    return cls(**{"run": "every", "source": source, "agent": agent, **fields})


def _by_lead(cls: type[Event], **fields: Any) -> Event:
    return _by("host-1", cls, agent="lead", **fields)


def _by_child(cls: type[Event], **fields: Any) -> Event:
    return _by("host-1", cls, agent="a", **fields)


def _every_event() -> Told:
    """One of each event, the rarest ones too, in an order in which they can follow."""
    events = [
        e.PolicyRecorded(run="policy", digest=TIGHT.digest, text=TIGHT.text),
        _by_lead(e.RunStarted, policy=TIGHT.digest, task="write", task_key="k", tenant="acme",
                     role="lead", labels={"team": "docs"}, model_settings={"temperature": "0"}),
        _by_lead(e.ConstraintDeclared, constraint="c1", text="cite every source"),
        _by_lead(e.PlanProposed, plan="p1", goal="write", steps=(Step(id="s1", text="read"),)),
        _by_lead(e.PlanRevised, plan="p1", reason="too long"),
        _by_lead(e.SpawnRequested, child="a", task="read", constraints=("c1",), step="s1"),
        _by_child(e.AgentStarted, parent="lead", lease="0-6",
                       budget=Units(tokens=900)),
        _by_lead(e.LeaseRequested, wants=Units(spawns=1, tool_calls=4, tokens=500)),
        _by_lead(e.ToolCallRequested, call="t1", tool="search", args_fp=7),
        _by_lead(e.ToolCallStarted, call="t1", tool="search", lease="0-9", args_fp=7, args="{}"),
        _by_lead(e.ToolCallEnded, call="t1", error="429"),
        _by_lead(e.ToolCallStarted, call="t2", tool="search", lease="0-8", retry_of="t1"),
        _by_lead(e.ToolCallEnded, call="t2", result_fp=9, result="ok"),
        _by_lead(e.ModelCallRequested, call="m1", model="large", tokens_estimate=300),
        _by_lead(e.ModelCallStarted, call="m1", model="large", lease="0-14", tokens_estimate=300),
        _by_lead(e.ModelCallEnded, call="m1", input_tokens=200, cache_read_tokens=50,
                         cost_microdollars=40, prices="table 1"),
        _by_lead(e.HandoffOffered, handoff="h1", to="a", mode="transfer",
                         contract=Contract(goal="read", constraints=("c1",))),
        _by_child(e.HandoffAccepted, handoff="h1"),
        _by_child(e.HandoffReturned, handoff="h1", goal="read"),
        _by_lead(e.HandoffOffered, handoff="h2", to="a"),
        _by_child(e.HandoffRefused, handoff="h2", reason="busy"),
        _by_child(e.OutputProduced, output="o1", result_fp=5),
        _by_lead(e.OutputVerified, output="o1", passed=True),
        _by_child(e.AgentEnded, result_fp=5),
        _by_lead(e.LeaseReturned, lease="0-8", left=Units(tool_calls=3, tokens=500)),
        _by("ops", e.OrderGiven, order="o-1", action="pause", by="Ada"),
        _by("host-1", e.OrderReceipted, order="o-1", agents_stopped=1),
        _by("ops", e.OrderGiven, order="o-2", action="resume"),
        _by("watcher", e.HolderLost, holder="host-1"),
        e.Ticked(run="every"),
        _by("ops", e.RunEnded, outcome="failed", error="host lost"),
        _by("ops", e.OutcomeReported, success=False, score_millionths=-5),
        e.Ticked(run="every"),
    ]  # fmt: skip
    assert {type(event) for event in events} == set(EVENT_TYPES)
    state, seqs = State(0), dict[str, int]()
    for place, event in enumerate(events, start=1):
        seq = seqs[event.source] = seqs.get(event.source, 0) + 1
        numbered = event.model_copy(update={"seq": seq if event.source else 0})
        at_ms = 1_760_000_000_000 + place * 10 + (1_000_000 if place == len(events) else 0)
        record = Record(place, at_ms, numbered)
        yield record, fold(state, record)


RECIPES: dict[str, Callable[[], Told]] = {
    "every_event": _every_event,
    "rough_tight": lambda: _rough(7, TIGHT),
    "rough_roomy": lambda: _rough(11, ROOMY),
    "rough_shadow": lambda: _rough(13, SHADOW),
    "fan_out_242": lambda: records("fan_out_242", 4127, DEFAULT),
    "orphan_after_kill": lambda: records("orphan_after_kill", 4127, DEFAULT),
    "noop_loop": lambda: records("noop_loop", 4127, DEFAULT),
    "fleet": lambda: fleet(4, 4127),
}
