"""Law 9: everything has a limit: whatever is thrown at the judge, what it keeps stays small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from ledger.core import codec, lifecycle, policy
from ledger.core import events as e
from ledger.core.events import EVENT_TYPES, Event, Record
from ledger.core.fold import fold
from ledger.core.shapes import Units
from ledger.core.state import Run, State
from tests.runs import SHADOW, TIGHT, Told, any_runs, snapshot

SMALL = TIGHT.model_copy(
    update={
        "name": "small",
        "memory": TIGHT.memory.model_copy(update={"agents_max": 9, "runs_live_max": 5}),
        "findings": policy.Findings(duplicated_work=policy.DuplicatedWork(calls_remembered=8)),
    }
)


def kept(run: Run) -> dict[str, tuple[int, int]]:
    """What a run remembers: how many there are, and how many there may be."""
    memory, leases_max = run.policy.memory, run.policy.lease.per_agent_max
    leases_max *= len(run.agents)
    return {
        "agents": (len(run.agents), memory.agents_max),
        "latched": (len(run.latched), memory.agents_max),
        "sources": (len(run.sources), memory.sources_max),
        "calls": (len(run.calls), memory.calls_open_max),
        "handoffs": (len(run.handoffs), memory.handoffs_open_max),
        "orders": (len(run.orders), memory.orders_max),
        "spoken": (len(run.spoken), memory.findings_max),
        "leases": (len(run.leases), leases_max),
        "expiries": (len(run.expiries), 2 * leases_max + 8),
        "waiting": (
            sum(len(order.waiting) for order in run.orders.values()),
            memory.orders_max * (len(run.agents) + leases_max),
        ),
    }


@given(any_runs())
def test_9_what_a_run_remembers_is_bounded(told: Told) -> None:
    """The judge of a fleet lives for months; what grows without a limit ends it."""
    state = State(0)
    for record in told.records:
        fold(state, record)
        for run in state.runs.values():
            for what, (count, allowed) in kept(run).items():
                assert count <= allowed, what


TEXT = "x" * 100
FILL: dict[str, Callable[[int], Any]] = {
    "agent": lambda n: f"agent-{n}",
    "source": lambda n: f"process-{n}",
    "seq": lambda n: 1,
    "parent": lambda n: "lead",
    "child": lambda n: f"child-{n}",
    "holder": lambda n: f"process-{n}",
    "to": lambda n: f"agent-{n}",
    "wants": lambda n: Units(spawns=1, tool_calls=1, tokens=1),
    "passed": lambda n: True,
    "digest": lambda n: f"digest-{n}",
    "action": lambda n: ("pause", "drain", "kill")[n % 3],
    "scope": lambda n: ("agent", "subtree")[n % 2],
    "labels": lambda n: {f"k{n}": TEXT},
    "text": lambda n: TEXT,
}
IDS = ("call", "lease", "tool", "model", "handoff", "order", "plan", "output", "constraint", "role")
FPS = ("args_fp", "prompt_fp", "task_fp", "task_near", "result_fp", "args_near")


def flood(cls: type[Event], n: int, by: str) -> Event:
    """The n-th of endless different events of a class; `by` says who speaks."""
    fields: dict[str, Any] = {key: FILL[key](n) for key in FILL if key in cls.model_fields}
    fields |= {key: f"{key}-{n}" for key in IDS if key in cls.model_fields}
    fields |= {key: n * 7919 + 1 for key in FPS if key in cls.model_fields}
    if by == "lead":
        fields |= {"agent": "lead", "source": "", "seq": 0}
    if cls is e.AgentStarted:
        fields["agent"] = f"agent-{n}"
    return cls(**{**fields, "run": "r"})


@pytest.mark.parametrize("by", ["lead", "strangers"])
@pytest.mark.parametrize("cls", EVENT_TYPES, ids=lambda cls: cls.__name__)
def test_9_no_flood_of_one_kind_of_event_fills_the_judge(cls: type[Event], by: str) -> None:
    """A broken publisher says a thing ten thousand times with ten thousand names."""
    state = State(0)
    state.policies[SMALL.digest] = SMALL
    fold(state, Record(0, 1_000, e.RunStarted(run="r", agent="lead", policy=SMALL.digest)))
    sizes = []
    for n in range(1, 1_201):
        fold(state, Record(n, 1_000 + n * 7, flood(cls, n, by)))
        if n in (600, 1_200):
            sizes.append(sum(len(codec.dump_run(run)) for run in state.runs.values()))

    assert sizes[1] <= sizes[0] + 600
    assert sizes[1] < 40_000


@pytest.mark.parametrize("cls", EVENT_TYPES, ids=lambda cls: cls.__name__)
def test_9_no_flood_of_runs_fills_the_judge(cls: type[Event]) -> None:
    """Every event may name a run that nobody knows."""
    state, small = State(0), 0
    state.policies[SMALL.digest] = SMALL
    for n in range(600):
        event = flood(cls, n, "strangers").model_copy(update={"run": f"r{n}"})
        if isinstance(event, e.RunStarted):
            event = event.model_copy(update={"policy": SMALL.digest})
        fold(state, Record(n, 1_000 + n, event))
        small = max(small, len(state.runs))

    assert small <= SMALL.memory.runs_live_max


def test_9_orders_for_runs_that_never_come_are_bounded() -> None:
    """Kept until the run starts, which may be never; at the limit new ones are refused."""
    state = State(0)
    allowed = policy.DEFAULT.memory.tombstones_max
    state.latched.update({f"r{n}": 1 for n in range(allowed)})
    verdict = fold(state, Record(1, 1, e.OrderGiven(run="new", order="o", action="kill")))

    assert len(state.latched) <= allowed
    assert state.latched["r0"] == 1
    assert verdict is not None
    assert verdict.refusal


def test_9_policies_are_bounded() -> None:
    """Their texts are the largest thing that a stranger can make the judge keep."""
    state = State(0)
    state.policies.update({f"{n}": TIGHT for n in range(lifecycle.POLICIES_MAX)})
    text = e.PolicyRecorded(run="policy", digest=SHADOW.digest, text=SHADOW.text)
    verdict = fold(state, Record(1, 1, text))

    assert len(state.policies) == lifecycle.POLICIES_MAX
    assert verdict is not None
    assert verdict.refusal


def test_9_tombstones_of_others_are_not_a_run_s_to_forget() -> None:
    """A run under a policy that remembers one name must not make the judge forget the rest."""
    state = State(0)
    forgetful = TIGHT.model_copy(
        update={"memory": TIGHT.memory.model_copy(update={"tombstones_max": 1, "linger_ms": 0})}
    )
    state.policies[forgetful.digest] = forgetful
    for n, pinned in enumerate(["", "", forgetful.digest, forgetful.digest]):
        fold(state, Record(4 * n, 1_000, e.RunStarted(run=f"r{n}", agent="lead", policy=pinned)))
        fold(state, Record(4 * n + 1, 1_000, e.RunEnded(run=f"r{n}")))
        fold(state, Record(4 * n + 2, 10_000_000, e.Ticked(run=f"r{n}")))

    assert list(state.ended) == ["r0", "r1", "r2", "r3"]


def test_9_what_was_said_is_remembered_of_so_many_subjects_only() -> None:
    """Two agents that do all things twice make a finding of each."""
    state, findings = State(0), 0
    state.policies[SMALL.digest] = SMALL
    fold(state, Record(0, 1_000, e.RunStarted(run="r", agent="lead", policy=SMALL.digest)))
    fold(state, Record(1, 1_000, e.AgentStarted(run="r", agent="a", parent="lead")))
    for n in range(2, 200, 4):
        for step, who in enumerate(("lead", "a")):
            start = e.ToolCallStarted(run="r", agent=who, call="c", tool="t", args_fp=n)
            verdict = fold(state, Record(n + 2 * step, 1_000, start))
            findings += len(verdict.findings) if verdict is not None else 0
            fold(
                state,
                Record(n + 2 * step + 1, 1_000, e.ToolCallEnded(run="r", agent=who, call="c")),
            )

    assert findings > SMALL.memory.findings_max
    assert len(state.runs["r"].spoken) <= SMALL.memory.findings_max


def test_9_rules_latch_no_more_names_than_there_may_be_agents() -> None:
    """A rule may kill whom it finds, and a request may name anybody as the child to come."""
    rule = policy.DuplicatedWork(info="kill_agent", warning="kill_agent")
    kills = SMALL.model_copy(update={"findings": policy.Findings(duplicated_work=rule)})
    state = State(0)
    state.policies[kills.digest] = kills
    fold(state, Record(0, 1_000, e.RunStarted(run="r", agent="lead", policy=kills.digest)))
    started = e.AgentStarted(run="r", agent="a", parent="lead", task_fp=7)
    fold(state, Record(1, 1_000, started))
    for n in range(2, 200):
        asked = e.SpawnRequested(run="r", agent="lead", child=f"child-{n}", task_fp=7)
        fold(state, Record(n, 1_000 + n * 1_000, asked))

    assert 0 < len(state.runs["r"].latched) <= kills.memory.agents_max


def test_9_huge_numbers_stay_numbers() -> None:
    """Foreign publishers claim what they like; a sum must not overflow what holds it."""
    state, huge = State(0), 2**53 - 1
    fold(state, Record(0, 1, e.RunStarted(run="r", agent="lead")))
    for n in range(1, 3_000, 2):
        start = e.ModelCallStarted(run="r", agent="lead", call="c", model="m", tokens_estimate=huge)
        end = e.ModelCallEnded(
            run="r", agent="lead", call="c", input_tokens=huge, output_tokens=huge,
            cache_read_tokens=huge, cost_microdollars=huge, at_ms=huge,
        )  # fmt: skip
        fold(state, Record(n, n, start))
        fold(state, Record(n + 1, n, end))
    asked = e.ModelCallRequested(run="r", agent="lead", call="d", model="m")
    verdict = fold(state, Record(3_001, 3_001, asked))

    assert verdict is not None
    assert verdict.decision == "deny"
    assert snapshot(state)


def test_9_a_repeated_step_is_refused_for_as_long_as_it_is_told() -> None:
    """A poll that hears no time gives up, or asks for ever; one that waits may look again."""
    state, offset = State(0), 0
    look = {"call": "c", "tool": "status", "args_fp": 7}

    def tell(at_ms: int, cls: type[Event], **fields: Any) -> int:
        """How long to wait, as the denial says; -1: it was allowed."""
        nonlocal offset
        offset += 1
        event = cls(**{"run": "r", "agent": "lead", **fields})
        verdict = fold(state, Record(offset, at_ms, event))
        return -1 if verdict is None or verdict.denial is None else verdict.denial.retry_ms

    tell(1_000, e.RunStarted)
    for at_ms in range(1_000, 6_000, 1_000):
        tell(at_ms, e.ToolCallStarted, **look)
        tell(at_ms, e.ToolCallEnded, call="c", result_fp=1)

    rest_ms = policy.DEFAULT.findings.repeated_step.retry_ms
    assert tell(5_400, e.ToolCallRequested, **look) == rest_ms - 400
    assert tell(5_000 + rest_ms - 1, e.ToolCallRequested, **look) == 1
    assert tell(5_000 + rest_ms, e.ToolCallRequested, **look) == -1
