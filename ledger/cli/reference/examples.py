"""Verdicts and findings for the reference, made by the real fold from short histories."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from ledger.core import events as e
from ledger.core.fold import fold
from ledger.core.policy import Policy, from_text
from ledger.core.state import State
from ledger.core.verdicts import Finding, Verdict

RUN = "019c936e-37fc-7b3e-8a5e-3f6d1c2b4a59"
START_MS = 1_772_000_000_000
TIGHT = from_text(
    '{"name":"tight","run":{"depth_max":2,"agents_live_max":8},"agent":{"open_children_max":2}}'
)
"""A policy that a short history can run into."""


class _Story:
    """A run that is told event by event; keeps the verdicts."""

    def __init__(self, policy: Policy = TIGHT) -> None:
        self.state = State()
        self.verdicts: list[Verdict] = []
        self.offset = 0
        self.calls = 0
        self.tell(e.PolicyRecorded, "", run="policy", digest=policy.digest, text=policy.text)
        self.tell(e.RunStarted, "lead", policy=policy.digest)

    def tell(self, cls: type[e.Event], agent: str, **fields: Any) -> Verdict | None:
        self.offset += 1
        event = cls.model_validate({"run": RUN, "agent": agent, "source": "host1-1", **fields})
        verdict = fold(self.state, e.Record(self.offset, START_MS + self.offset * 10, event))
        if verdict is not None:
            self.verdicts.append(verdict)
        return verdict

    def spawn(self, parent: str, child: str, **fields: Any) -> None:
        asked = self.tell(e.SpawnRequested, parent, child=child, **fields)
        if asked is not None and asked.lease is not None:
            self.tell(e.AgentStarted, child, parent=parent, lease=asked.lease.lease, **fields)

    def call(self, agent: str, args: int, result: int) -> None:
        self.calls += 1
        call = f"c{self.calls}"
        asked = self.tell(e.ToolCallRequested, agent, call=call, tool="search", args_fp=args)
        if asked is not None and asked.lease is not None:
            lease = asked.lease.lease
            self.tell(e.ToolCallStarted, agent, call=call, tool="search", args_fp=args, lease=lease)
            self.tell(e.ToolCallEnded, agent, call=call, result_fp=result)


def _runaway_fan_out() -> _Story:
    story = _Story()
    for number in range(1, 4):
        story.spawn("lead", f"worker-{number}")
    return story


def _delegation_too_deep() -> _Story:
    story = _Story()
    for parent, child in (("lead", "a"), ("a", "b"), ("b", "c")):
        story.spawn(parent, child)
    return story


def _repeated_step() -> _Story:
    story = _Story()
    for _ in range(6):
        story.call("lead", args=77, result=5)
    return story


def _duplicated_work() -> _Story:
    story = _Story()
    for child in ("a", "b"):
        story.spawn("lead", child)
        story.call(child, args=4_242, result=9)
    return story


STORIES = {
    "runaway_fan_out": _runaway_fan_out,
    "delegation_too_deep": _delegation_too_deep,
    "repeated_step": _repeated_step,
    "duplicated_work": _duplicated_work,
}
"""A short history for each detector in which it speaks."""


@cache
def finding(name: str) -> tuple[Verdict, Finding]:
    """The last finding of this name in its story, and the verdict that it is part of.

    Raises KeyError where there is no story, AssertionError where it stays silent.
    """
    said = [
        (verdict, found)
        for verdict in STORIES[name]().verdicts
        for found in verdict.findings
        if found.name == name
    ]
    assert said, f"the story of {name} in ledger/cli/reference/examples.py stays silent"
    return said[-1]


def verdicts() -> Iterator[tuple[str, Verdict]]:
    """A title and a verdict, for each kind of thing that a verdict can say."""
    story = _Story()
    asked = story.tell(e.SpawnRequested, "lead", child="researcher-1", role="researcher")
    assert asked is not None
    yield "a spawn that is allowed", asked
    yield "a spawn that is refused, with its finding", finding("runaway_fan_out")[0]
    refused = story.tell(e.AgentStarted, "x", parent="nobody")
    assert refused is not None
    yield "an event that cannot be", refused
