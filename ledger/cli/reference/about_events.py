"""What the reference says of each event: who writes it, what it changes, an example.

Three entries for a new event, here; `tests/test_docs.py` names it when they are missing.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.core import events as e
from ledger.core.fingerprint import exact, near
from ledger.core.shapes import Contract, Step, Units

CLIENT = "client"
PERSON = "person or client"
IMPORT = "client, import"
JUDGE = "judge"


class About(NamedTuple):
    """Who writes an event, and what the fold changes by it."""

    writer: str
    changes: str


ABOUT: dict[type[e.Event], About] = {
    e.PolicyRecorded: About(CLIENT, "the policies that runs may name"),
    e.RunStarted: About(IMPORT, "the run is there, its lead is alive, its policy is pinned"),
    e.RunEnded: About(
        IMPORT, "the run is over: every lease ends; kept whole for `memory.linger_ms`"
    ),
    e.OutcomeReported: About(PERSON, "nothing; it is there to be asked about"),
    e.ConstraintDeclared: About(IMPORT, "nothing yet; handoffs and spawns cite its id"),
    e.PlanProposed: About(IMPORT, "nothing yet; spawns and calls cite its steps"),
    e.PlanRevised: About(IMPORT, "nothing yet"),
    e.SpawnRequested: About(
        CLIENT, "allowed: one spawn is reserved, a place is held; refused: the refusal is counted"
    ),
    e.AgentStarted: About(
        IMPORT, "the agent joins the tree; its lease is used, or it counts as unadmitted"
    ),
    e.AgentEnded: About(IMPORT, "its place is free; what is left of its leases is forfeit"),
    e.ToolCallRequested: About(CLIENT, "allowed: one tool call is reserved"),
    e.ToolCallStarted: About(IMPORT, "one tool call is spent; the call is in flight"),
    e.ToolCallEnded: About(IMPORT, "the call is over; its step is compared with the last ones"),
    e.ModelCallRequested: About(CLIENT, "allowed: one model call, tokens and cost are reserved"),
    e.ModelCallStarted: About(IMPORT, "one model call is spent; the call is in flight"),
    e.ModelCallEnded: About(IMPORT, "its tokens and its cost are spent, from its lease first"),
    e.HandoffOffered: About(IMPORT, "the handoff is open"),
    e.HandoffAccepted: About(IMPORT, "nothing; it must be open, and be offered to the agent"),
    e.HandoffReturned: About(IMPORT, "the handoff is closed"),
    e.HandoffRefused: About(IMPORT, "the handoff is closed"),
    e.OutputProduced: About(IMPORT, "nothing yet"),
    e.OutputVerified: About(IMPORT, "nothing yet"),
    e.LeaseRequested: About(
        CLIENT, "allowed: up to half of what is left, and of what the policy lets one lease hold"
    ),
    e.LeaseReturned: About(CLIENT, "what is left goes back; the rest counts as spent"),
    e.HolderLost: About(
        "client or judge that proved it", "its leases are forfeit, its agents and calls are over"
    ),
    e.OrderGiven: About(PERSON, "the scope is latched; whoever holds agents there has to answer"),
    e.OrderReceipted: About(CLIENT, "one process has answered; all have: the order is quiet"),
    e.Ticked: About(JUDGE, "the run's clock; leases that ran out end, orders become quiet"),
}

RUN = "019c936e-37fc-7b3e-8a5e-3f6d1c2b4a59"
CLIENT_SOURCE = "host1-4f2a-31337-98114"
TASK = "compare three vector databases"
CHILD_TASK = "find benchmarks of each"
_ARGS = exact("search\0" + '{"q":"vector database benchmark"}')
_WHO = {"run": RUN, "source": CLIENT_SOURCE, "at_ms": 1_772_000_000_000, "grade": "enforced"}
_LEAD = {**_WHO, "agent": "lead"}
_CHILD = {**_WHO, "agent": "researcher-1"}
_SPAWN = {
    "role": "researcher",
    "task": CHILD_TASK,
    "task_fp": exact(CHILD_TASK),
    "task_near": near(CHILD_TASK),
    "step": "s1",
    "constraints": ("no-paid-sources",),
    "budget": Units(tool_calls=50, tokens=400_000, microdollars=2_000_000),
}

EXAMPLES: tuple[e.Event, ...] = tuple(
    cls.model_validate(fields)
    for cls, fields in (
        (
            e.PolicyRecorded,
            {"run": "policy", "digest": "79cf7555b113c0641d1056369c3bdd8a", "text": '{"agent":…}'},
        ),
        (
            e.RunStarted,
            {
                **_LEAD,
                "seq": 1,
                "policy": "79cf7555b113c0641d1056369c3bdd8a",
                "task": TASK,
                "task_key": "compare",
                "task_fp": exact(TASK),
                "task_near": near(TASK),
                "tenant": "acme",
                "role": "lead",
                "effort": "comparison",
                "labels": {"team": "search"},
                "model_settings": {"temperature": "0"},
                "code_version": "3f2c1d0",
            },
        ),
        (e.RunEnded, {**_LEAD, "seq": 40, "outcome": "succeeded"}),
        (
            e.OutcomeReported,
            {"run": RUN, "success": True, "score_millionths": 930_000, "by": "review@acme"},
        ),
        (
            e.ConstraintDeclared,
            {**_LEAD, "seq": 2, "constraint": "no-paid-sources", "text": "Use free sources only."},
        ),
        (
            e.PlanProposed,
            {
                **_LEAD,
                "seq": 3,
                "plan": "p1",
                "goal": TASK,
                "steps": (
                    Step(id="s1", text=CHILD_TASK),
                    Step(id="s2", text="write it down", after=("s1",)),
                ),
            },
        ),
        (
            e.PlanRevised,
            {
                **_LEAD,
                "seq": 30,
                "plan": "p1",
                "steps": (Step(id="s2", text="write it down"),),
                "reason": "the benchmarks are old",
            },
        ),
        (e.SpawnRequested, {**_LEAD, "seq": 4, "child": "researcher-1", **_SPAWN}),
        (e.AgentStarted, {**_CHILD, "seq": 5, "parent": "lead", "lease": "0-17", **_SPAWN}),
        (e.AgentEnded, {**_CHILD, "seq": 22, "outcome": "succeeded", "result_fp": exact("r")}),
        (
            e.ToolCallRequested,
            {**_CHILD, "seq": 6, "call": "c1", "tool": "search", "args_fp": _ARGS, "step": "s1"},
        ),
        (
            e.ToolCallStarted,
            {
                **_CHILD,
                "seq": 7,
                "call": "c1",
                "tool": "search",
                "lease": "0-19",
                "args_fp": _ARGS,
                "args_bytes": 33,
                "step": "s1",
            },
        ),
        (
            e.ToolCallEnded,
            {
                **_CHILD,
                "seq": 8,
                "call": "c1",
                "result_fp": exact("ten links"),
                "result_bytes": 2_041,
            },
        ),
        (
            e.ModelCallRequested,
            {
                **_CHILD,
                "seq": 9,
                "call": "c2",
                "model": "gpt-5",
                "tokens_estimate": 6_000,
                "microdollars_estimate": 20_000,
            },
        ),
        (
            e.ModelCallStarted,
            {
                **_CHILD,
                "seq": 10,
                "call": "c2",
                "model": "gpt-5",
                "lease": "0-22",
                "prompt_fp": exact("p"),
                "prompt_bytes": 18_400,
                "tokens_estimate": 6_000,
            },
        ),
        (
            e.ModelCallEnded,
            {
                **_CHILD,
                "seq": 11,
                "call": "c2",
                "input_tokens": 900,
                "output_tokens": 620,
                "cache_read_tokens": 4_100,
                "cost_microdollars": 7_838,
                "prices": "genai-prices",
            },
        ),
        (
            e.HandoffOffered,
            {
                **_LEAD,
                "seq": 23,
                "handoff": "h1",
                "to": "writer-1",
                "mode": "transfer",
                "contract": Contract(
                    goal="write two pages", constraints=("no-paid-sources",), returns="Markdown"
                ),
            },
        ),
        (e.HandoffAccepted, {**_WHO, "agent": "writer-1", "seq": 24, "handoff": "h1"}),
        (
            e.HandoffReturned,
            {
                **_WHO,
                "agent": "writer-1",
                "seq": 28,
                "handoff": "h1",
                "goal": "write two pages",
                "constraints": ("no-paid-sources",),
                "result_fp": exact("two pages"),
                "result_bytes": 6_310,
            },
        ),
        (
            e.HandoffRefused,
            {
                **_WHO,
                "agent": "writer-1",
                "seq": 24,
                "handoff": "h1",
                "reason": "there are no sources",
            },
        ),
        (
            e.OutputProduced,
            {
                **_WHO,
                "agent": "writer-1",
                "seq": 26,
                "output": "report.md",
                "kind": "document",
                "result_fp": exact("two pages"),
                "result_bytes": 6_310,
            },
        ),
        (
            e.OutputVerified,
            {
                **_CHILD,
                "seq": 27,
                "output": "report.md",
                "passed": True,
                "result_fp": exact("two pages"),
            },
        ),
        (
            e.LeaseRequested,
            {
                **_CHILD,
                "seq": 12,
                "wants": Units(tool_calls=16, tokens=200_000, microdollars=500_000),
            },
        ),
        (
            e.LeaseReturned,
            {**_CHILD, "seq": 21, "lease": "0-25", "left": Units(tool_calls=9, tokens=143_000)},
        ),
        (
            e.HolderLost,
            {
                "run": RUN,
                "source": "host1-4f2a-40110-99001",
                "seq": 1,
                "holder": CLIENT_SOURCE,
                "reason": "its process is gone",
            },
        ),
        (
            e.OrderGiven,
            {
                "run": RUN,
                "agent": "researcher-1",
                "order": "kill-3f2c",
                "action": "kill",
                "scope": "subtree",
                "reason": "it searches in circles",
                "by": "ann@host1",
            },
        ),
        (
            e.OrderReceipted,
            {
                **_WHO,
                "seq": 31,
                "order": "kill-3f2c",
                "agents_stopped": 3,
                "calls_in_flight": 1,
                "tokens_since": 1_200,
                "microdollars_since": 4_100,
            },
        ),
        (e.Ticked, {"run": RUN, "source": "judge"}),
    )
)
"""One example of each event, in the order of the reference."""
