"""What tests of the client share: a ledger with its judge in a thread, and what its log says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import ledger
from ledger.core import events as e
from ledger.core import policy
from ledger.core.events import Event
from ledger.core.state import Run
from ledger.core.verdicts import UNITS, Verdict
from ledger.log.sqlite import SqliteLog
from ledger.wire import decode, decode_verdict
from tests.judging import applied, caught_up
from tests.waiting import PATIENCE_MS, wait_for

E = TypeVar("E", bound=Event)


def limits(**fields: Any) -> policy.Policy:
    """A policy with these limits; `run_` and `agent_` and `lease_` say whose they are.

    Its clients wait long for the judge unless it says otherwise.
    """
    parts: dict[str, dict[str, Any]] = {"unreachable": {"wait_ms": PATIENCE_MS}}
    for name, value in fields.items():
        part, _, field = name.partition("_")
        parts.setdefault(part, {})[field] = value
    return policy.Policy.model_validate(parts)


def connected(folder: Path, pinned: policy.Policy | None = None, **options: Any) -> ledger.Ledger:
    """A ledger in this folder whose judge is a thread of this process."""
    pinned = pinned or limits()
    return ledger.connect(folder / "ledger.db", policy=pinned, **{"judge": "thread", **options})


def heard(log: SqliteLog) -> list[Event]:
    """Every event of the log but the policies; fails on one that cannot be read."""
    events = [decode(row.value) for row in log.read(0, 10**9)]
    return [event for event in events if not isinstance(event, e.PolicyRecorded)]


def of_type(log: SqliteLog, cls: type[E]) -> list[E]:
    """The events of one class."""
    return [event for event in heard(log) if isinstance(event, cls)]


def types(log: SqliteLog) -> list[str]:
    """The types of the events of the log, in order."""
    return [event.type for event in heard(log)]


def told(log: SqliteLog) -> list[Verdict]:
    """Every verdict of the log."""
    return [decode_verdict(row.value) for row in log.verdicts(0, 10**9)]


def refusals(log: SqliteLog) -> list[str]:
    """Why events were refused by the judge, and bytes by anybody."""
    return [v.refusal for v in told(log) if v.refusal] + [r.reason for r in log.refused(0, 10**9)]


def judged(led: ledger.Ledger) -> None:
    """Wait until all that was recorded is judged."""
    led.flush()
    wait_for(lambda: caught_up(led.log), what="the judge")


def state_of(led: ledger.Ledger, run: str) -> Run:
    """The run as the judge knows it."""
    judged(led)
    return applied(led.log).runs[run]


def is_in_order(log: SqliteLog) -> None:
    """Fails where the numbers of a source have a gap, a repetition, or go back."""
    seqs: Counter[tuple[str, str]] = Counter()
    for event in heard(log):
        if event.seq:
            seqs[event.source, event.run] += 1
            assert event.seq == seqs[event.source, event.run], event


def adds_up(run: Run) -> None:
    """Invariant 4, and that nothing countable is above its limit (invariant 5)."""
    budgets = [run.budget, *(agent.budget for agent in run.agents.values())]
    for budget in budgets:
        for unit, name in enumerate(UNITS):
            assert budget.reserved(unit) >= 0, name
            assert budget.available(unit) >= 0 or unit > 2, name
