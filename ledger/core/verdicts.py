"""What the judge says of one event: a decision, a lease, findings, orders; or why it was refused.

What a newcomer would get wrong
    All that is said of one event is one verdict. Its id is (partition, offset): the offset is
    that of the event that caused it. Within it, findings and orders are numbered in order.
    Who asked knows the answer by (`source`, `seq`): an event that was sent twice is judged where
    it stands first, which the sender need not know.
    A verdict takes effect in the fold at that offset, not where it stands in the verdict log.
    An event that nobody need hear about has no verdict.
    `recalls` names leases whose holders shall return what they do not need: somebody is short.
    What a rule in `evaluate_only` would have done is said in `would`, and not done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from ledger.core.shapes import Count

Decision = Literal["allow", "deny", "transform"]
Severity = Literal["info", "warning", "critical", "fatal"]
Mode = Literal["enforce", "evaluate_only"]
Effect = Literal[
    "warn", "deny", "pause_agent", "pause_run", "kill_agent", "kill_subtree", "kill_run"
]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical", "fatal")
UNITS = ("spawns", "tool_calls", "model_calls", "tokens", "microdollars")
"""The budget units, in the order of every list of amounts."""
SPAWNS, TOOL_CALLS, MODEL_CALLS, TOKENS, MICRODOLLARS = range(5)
COUNTABLE = 3
"""Units below this index are counted exactly and never come back by themselves."""


@dataclass(slots=True)
class Denial:
    """Why not: a sentence for the model, and the same in fields.

    `limit` is the policy field (or finding) that says no, `left` what remains under it,
    `retry_ms` in how long asking again may help (0: it will not), `instead` what to do.
    """

    reason: str
    limit: str = ""
    left: int = 0
    retry_ms: int = 0
    instead: str = ""
    see: str = ""


@dataclass(slots=True)
class Grant:
    """A lease: `units` (in the order of UNITS) for `agent`, held by `holder` for `ttl_ms`."""

    lease: str
    agent: str
    holder: str
    units: Annotated[tuple[Count, ...], Field(min_length=5, max_length=5)]
    ttl_ms: Count


@dataclass(slots=True)
class Finding:
    """A detector's named pattern about `subject`, with the offsets of the records that prove it.

    `level` rises each time it grew worse; 0 says that it is over. `facts` are for people and SQL.
    """

    name: str
    subject: str
    severity: Severity
    level: int
    reason: str
    facts: dict[str, int | str] = field(default_factory=dict)
    evidence: tuple[int, ...] = ()
    mode: Mode = "enforce"
    effect: Effect = "warn"
    denies: tuple[int, ...] = ()


@dataclass(slots=True)
class RuleOrder:
    """An order given by a rule: what a finding led to. `order` is its id."""

    order: str
    action: Literal["kill", "drain", "pause", "resume"]
    scope: Literal["agent", "subtree", "run"]
    agent: str
    reason: str


@dataclass(slots=True)
class Verdict:
    """All that is said of the event at (`partition`, `offset`), by which code and policy.

    `source` and `seq` are those of the event.
    """

    offset: int
    run: str
    agent: str = ""
    about: str = ""
    source: str = ""
    seq: int = 0
    at_ms: int = 0
    decision: Decision | None = None
    denial: Denial | None = None
    would: Denial | None = None
    lease: Grant | None = None
    findings: tuple[Finding, ...] = ()
    orders: tuple[RuleOrder, ...] = ()
    quiet: tuple[str, ...] = ()
    recalls: tuple[str, ...] = ()
    refusal: str = ""
    policy: str = ""
    version: int = 0
    partition: int = 0
    generation: int = 0
