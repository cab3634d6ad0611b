"""Runs for the laws: Hypothesis draws small numbers, `tell` makes events of them.

A move is five small numbers: what happens, who does it, two details, and how it is numbered and
timed. The world is small on purpose (six agent names, four processes, few calls), so that
moves meet: leases run out while calls are in flight, orders come before the agents they name,
processes die and come back. Most moves are sensible; the rest is what a broken client sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from ledger.core import codec, policy
from ledger.core import events as e
from ledger.core.events import Event, Record
from ledger.core.fold import fold
from ledger.core.shapes import Contract, Grade, Units
from ledger.core.state import State
from ledger.core.verdicts import Verdict
from ledger.wire import encode_verdict

Move = tuple[int, int, int, int, int]

AGENTS = ("lead", "a", "b", "c", "d", "e")
SOURCES = ("p1", "p2", "p3", "")
CALLS = tuple(f"c{n}" for n in range(6))
STRANGER = 11
START_MS = 1_000_000
TTL_MS = 200
STEPS_MS = (0, 0, 1, 1, 3, 20, 90, 250, -40, 3_000)
"""How far the log's clock moves between two events: past a lease, past a jump, and back."""

TIGHT = policy.Policy(
    name="tight",
    run=policy.RunLimits(
        agents_max=6, agents_live_max=4, depth_max=2, tool_calls_max=12, model_calls_max=10,
        tokens_max=2_000, microdollars_max=3_000, spawns_refused_max=6,
    ),
    agent=policy.AgentLimits(
        open_children_max=2, children_max=4, tool_calls_max=8, model_calls_max=6,
        tokens_max=1_500, microdollars_max=2_000,
    ),
    lease=policy.Leases(
        ttl_ms=TTL_MS, spawns=3, tool_calls=6, model_calls=4, tokens=900, microdollars=900,
        per_agent_max=3,
    ),
    memory=policy.Memory(
        clock_jump_ms=2_000, idle_ms=60_000, linger_ms=500, sources_max=8, orders_max=4,
        calls_open_max=5, handoffs_open_max=3, findings_max=6,
    ),
)  # fmt: skip
ROOMY = policy.DEFAULT.model_copy(update={"name": "roomy", "lease": TIGHT.lease})
SHADOW = TIGHT.model_copy(
    update={
        "name": "shadow",
        "findings": policy.Findings(
            runaway_fan_out=policy.RunawayFanOut(mode="evaluate_only"),
            repeated_step=policy.RepeatedStep(mode="evaluate_only"),
        ),
    }
)


@dataclass
class Told:
    """A policy and the records of a partition under it; the first record is the policy's text."""

    policy: policy.Policy
    records: list[Record]

    def judged(self) -> tuple[State, list[Verdict | None]]:
        """The state and the verdicts that folding all of it gives."""
        state = State(0)
        return state, [fold(state, record) for record in self.records]


@dataclass
class Teller:
    """Turns moves into events; knows only what a client would know, and not what was decided."""

    pinned: policy.Policy
    events: list[tuple[int, Event]] = field(default_factory=list)
    now_ms: int = START_MS
    offset: int = 0
    seqs: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    calls: dict[str, tuple[str, bool]] = field(default_factory=dict)
    known: list[str] = field(default_factory=lambda: ["lead"])
    orders: int = 0

    def say(self, cls: type[Event], agent: str, when: int, **fields: Any) -> None:
        """Append an event; `when` says how it is timed, numbered and by whom."""
        run = fields.pop("run", "r")
        source = fields.pop("source", SOURCES[when % len(SOURCES)])
        seq = 0
        if source:
            seq = self.seqs.get((run, source), 0) + 1
            if when % 29 == 7:
                seq += 2
            elif when % 29 == 8:
                seq = max(1, seq - 2)
            self.seqs[run, source] = max(seq, self.seqs.get((run, source), 0))
        self.now_ms = max(0, self.now_ms + STEPS_MS[when % len(STEPS_MS)])
        event = cls(run=run, agent=agent, source=source, seq=seq, at_ms=self.now_ms, **fields)
        self.events.append((self.offset, event))
        self.records.append(Record(self.offset, self.now_ms, event))
        self.offset += 1 if when % 17 else 3

    records: list[Record] = field(default_factory=list)

    def lease(self, agent: str, how: int) -> str:
        """A lease that the agent may have: mostly its newest, sometimes another's or none."""
        own = [lease for lease, holder in self.asked if holder == agent]
        if how % 8 == 0 or not self.asked:
            return ""
        if how % 8 == 1 or not own:
            return self.asked[how % len(self.asked)][0]
        return own[-1 - how % min(2, len(own))]

    def ask(self, cls: type[Event], agent: str, when: int, **fields: Any) -> None:
        self.asked.append((f"0-{self.offset}", agent))
        self.say(cls, agent, when, **fields)


Teach = Callable[[Teller, str, int, int, int], None]


def _spawn(to: Teller, who: str, what: int, how: int, when: int) -> None:
    child = AGENTS[what % len(AGENTS)]
    to.ask(e.SpawnRequested, who, when, child=child, task_fp=how % 4, task_near=how % 4)


def _agent(to: Teller, who: str, what: int, how: int, when: int) -> None:
    child = AGENTS[what % len(AGENTS)]
    if child not in to.known:
        to.known.append(child)
    budget = Units(tool_calls=3, tokens=400) if how % 5 == 0 else None
    to.say(
        e.AgentStarted, child, when, parent=who, lease=to.lease(who, how),
        budget=budget, task_fp=how % 4, role="worker",
    )  # fmt: skip


def _ended(to: Teller, who: str, what: int, how: int, when: int) -> None:
    to.say(e.AgentEnded, who, when)


def _tool_asked(to: Teller, who: str, what: int, how: int, when: int) -> None:
    to.ask(e.ToolCallRequested, who, when, call=CALLS[what % 6], tool="search", args_fp=how % 3)


def _tool(to: Teller, who: str, what: int, how: int, when: int) -> None:
    call = CALLS[what % 6]
    to.calls[call] = (who, True)
    lease = to.lease(who, how)
    to.say(e.ToolCallStarted, who, when, call=call, tool="search", lease=lease, args_fp=how % 3)


def _tool_over(to: Teller, who: str, what: int, how: int, when: int) -> None:
    call = CALLS[what % 6]
    by = to.calls.get(call, (who, True))[0] if how % 8 else who
    to.say(e.ToolCallEnded, by, when, call=call, result_fp=how % 2)


def _model_asked(to: Teller, who: str, what: int, how: int, when: int) -> None:
    to.ask(
        e.ModelCallRequested, who, when, call=CALLS[what % 6], model="m",
        tokens_estimate=how * 30, microdollars_estimate=how * 20,
    )  # fmt: skip


def _model(to: Teller, who: str, what: int, how: int, when: int) -> None:
    call = CALLS[what % 6]
    to.calls[call] = (who, False)
    to.say(
        e.ModelCallStarted, who, when, call=call, model="m", lease=to.lease(who, how),
        prompt_fp=how % 3, tokens_estimate=how * 30, microdollars_estimate=how * 20,
    )  # fmt: skip


def _model_over(to: Teller, who: str, what: int, how: int, when: int) -> None:
    call = CALLS[what % 6]
    by = to.calls.get(call, (who, True))[0] if how % 8 else who
    to.say(
        e.ModelCallEnded, by, when, call=call, input_tokens=how * 10, output_tokens=how * 17,
        cache_read_tokens=when, cost_microdollars=how * 25,
    )  # fmt: skip


def _lease_asked(to: Teller, who: str, what: int, how: int, when: int) -> None:
    wants = Units(
        spawns=what % 4, tool_calls=how % 7, model_calls=what % 3, tokens=how * 100,
        microdollars=what * 100,
    )  # fmt: skip
    to.ask(e.LeaseRequested, who, when, wants=wants)


def _lease_back(to: Teller, who: str, what: int, how: int, when: int) -> None:
    lease = to.lease(who, how) or "0-1"
    left = Units(spawns=what % 3, tool_calls=how % 3, tokens=how * 50, microdollars=what * 9)
    to.say(e.LeaseReturned, who, when, lease=lease, left=left, closed=how % 3 > 0)


def _order(to: Teller, who: str, what: int, how: int, when: int) -> None:
    action = ("resume", "pause", "drain", "resume", "pause", "kill")[what % 6]
    scope = ("agent", "subtree", "run")[how % 3]
    to.orders += 1
    target = "" if scope == "run" else who
    order = f"o{to.orders - (how == 9)}"
    to.say(e.OrderGiven, target, when, order=order, action=action, scope=scope, source="person")


def _receipt(to: Teller, who: str, what: int, how: int, when: int) -> None:
    to.say(e.OrderReceipted, "", when, order=f"o{max(1, to.orders - what % 2)}")


def _tick(to: Teller, who: str, what: int, how: int, when: int) -> None:
    to.say(e.Ticked, "", when, source="")


def _lost(to: Teller, who: str, what: int, how: int, when: int) -> None:
    to.say(e.HolderLost, "", when, holder=SOURCES[what % 3], source="watcher")


def _handoff(to: Teller, who: str, what: int, how: int, when: int) -> None:
    handoff, other = f"h{what % 4}", AGENTS[how % len(AGENTS)]
    if when % 3 == 0:
        contract = Contract(goal="check", constraints=("c1",))
        to.say(e.HandoffOffered, who, when, handoff=handoff, to=other, contract=contract)
    elif when % 3 == 1:
        to.say(e.HandoffAccepted, other, when, handoff=handoff)
    else:
        to.say(e.HandoffReturned, other, when, handoff=handoff)


def _note(to: Teller, who: str, what: int, how: int, when: int) -> None:
    if how % 3 == 0:
        to.say(e.PlanProposed, who, when, plan="p")
    elif how % 3 == 1:
        to.say(e.OutputProduced, who, when, output="o")
    else:
        to.say(e.ConstraintDeclared, who, when, constraint="c1", text="cite")


def _run(to: Teller, who: str, what: int, how: int, when: int) -> None:
    if how == 0:
        to.say(e.RunEnded, "", when)
    elif how < 4:
        to.say(e.RunStarted, who, when, run="q", policy=to.pinned.digest)
    elif how < 6:
        to.say(e.OrderGiven, "", when, run="q", order=f"q{when}", action="kill", source="person")
    elif how < 8:
        to.say(e.ToolCallStarted, who, when, run="q", call="c", tool="t")
    else:
        to.say(e.OutcomeReported, "", when, success=True)


MOVES: Sequence[Teach] = (
    *[_spawn] * 4, *[_agent] * 4, _ended, _ended, *[_tool_asked] * 2, *[_tool] * 4,
    *[_tool_over] * 3, *[_model_asked] * 2, *[_model] * 3, *[_model_over] * 3, *[_lease_asked] * 4,
    *[_lease_back] * 2, *[_order] * 2, *[_receipt] * 2, *[_tick] * 2, _lost, *[_handoff] * 2,
    _note, _run,
)  # fmt: skip


def tell(moves: Sequence[Move], pinned: policy.Policy = TIGHT, grade: Grade = "declared") -> Told:
    """The records that these moves make, after the policy and the start of run `r`.

    Of grade `observed` it is an import: it carries its own clock, and nothing is refused.
    """
    to = Teller(pinned)
    to.say(e.PolicyRecorded, "", 0, run="policy", digest=pinned.digest, text=pinned.text, source="")
    to.say(e.RunStarted, "lead", 0, policy=pinned.digest, grade=grade)
    for kind, who, what, how, when in moves:
        name = AGENTS[what % 6] if who == STRANGER else to.known[who % len(to.known)]
        MOVES[kind % len(MOVES)](to, name, what, how, when)
    return Told(pinned, to.records)


def moves(size_max: int = 60) -> st.SearchStrategy[list[Move]]:
    """Lists of moves; small numbers, so that they shrink to what matters."""
    small = st.integers(0, 9)
    move = st.tuples(st.integers(0, len(MOVES) - 1), st.integers(0, STRANGER), small, small,
                     st.integers(0, 59))  # fmt: skip
    # Hypothesis makes short lists unless told otherwise, and little goes wrong in a short run.
    return st.lists(move, max_size=9) | st.lists(move, min_size=size_max // 2, max_size=size_max)


def runs(size_max: int = 60) -> st.SearchStrategy[Told]:
    """Whole runs under one of three policies."""
    return st.builds(tell, moves(size_max), st.sampled_from([TIGHT, ROOMY, SHADOW]))


def any_runs(size_max: int = 60) -> st.SearchStrategy[Told]:
    """Whole runs, imports among them."""
    imports = st.builds(tell, moves(size_max), st.just(TIGHT), st.just("observed"))
    return runs(size_max) | imports


def snapshot(state: State) -> dict[str, Any]:
    """Everything that a partition's state holds, in comparable form."""
    return {
        "runs": {run_id: codec.dump_run(run) for run_id, run in state.runs.items()},
        "policies": sorted(state.policies),
        "ended": list(state.ended.items()),
        "latched": list(state.latched.items()),
    }


def said(verdicts: Sequence[Verdict | None]) -> list[bytes]:
    """The bytes of each verdict; empty where nothing was said."""
    return [b"" if verdict is None else encode_verdict(verdict) for verdict in verdicts]
