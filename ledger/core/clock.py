"""The clock of a run: it moves with the log, ends what ran out, and says when a tick is due.

What a newcomer would get wrong
    `now` never goes back, and nobody but the log moves it (imports carry their own clock).
    A jump past a deadline ends nothing at once: it is said first, and the next event lets it.
"""

from __future__ import annotations

from typing import Any

from ledger.core import budget, orders
from ledger.core.changes import drop_lease
from ledger.core.events import Record
from ledger.core.state import ENDED, Run
from ledger.core.verdicts import Finding


def advance(run: Run, record: Record, said: dict[str, Any]) -> int:
    """Move the clock; gives the last seq heard from the event's source (0: none).

    `said` is what the event says, as a dict.

    -1 for what was heard before, which is silent: Kafka delivers at least once.
    """
    if record.offset <= run.offset:
        return -1
    last = run.sources.get(said["source"], 0)
    seq = said["seq"]
    if seq <= last and seq:
        run.offset = record.offset
        run.repeats += 1
        return -1
    if run.observed:
        run.now_ms = max(run.now_ms, said["at_ms"])
        return last
    now_ms = record.append_ms
    if now_ms > run.now_ms:  # The builtin max costs three times as much, at every event.
        run.now_ms = now_ms
    else:
        now_ms = run.now_ms
    if now_ms >= run.deadline_ms or run.jumped_ms:
        _due(run)
    return last


def _due(run: Run) -> None:
    """A deadline is reached: say so before anything ends where the clock jumped past it."""
    late = run.now_ms - run.deadline_ms
    if late > run.policy.memory.clock_jump_ms and run.leases and not run.jumped_ms:
        run.jumped_ms = late
        run.deadline_ms = run.now_ms
        return
    run.jumped_ms = 0
    if late >= 0:
        _expire(run)


def _expire(run: Run) -> None:
    """Let the leases that ran out end, and find the next deadline."""
    while (lease := run.next_expiry()) is not None and lease.expires_ms <= run.now_ms:
        agent = run.agents[lease.agent]
        budget.forfeit(lease, agent.chain)
        if not any(lease.left):
            drop_lease(run, lease)
    set_deadline(run)


def set_deadline(run: Run) -> None:
    """Find when the run needs a `ticked` next: always after now."""
    memory = run.policy.memory
    waits_ms = orders.waits_until_ms(run)
    if run.status == ENDED:
        over = max(run.ended_ms + memory.linger_ms, waits_ms)
    else:
        over = run.active_ms + memory.idle_ms
    lease = run.next_expiry()
    times = (max(over, run.now_ms + 1), 0 if lease is None else lease.expires_ms, waits_ms)
    run.deadline_ms = min(at_ms for at_ms in times if at_ms)


def jump(run: Run) -> Finding:
    """What is said of a clock that jumped past a deadline."""
    allowed = run.policy.memory.clock_jump_ms
    return Finding(
        "clock_jump",
        run.id,
        "warning",
        1,
        f"log time is {run.jumped_ms} ms past a deadline; policy allows {allowed}. "
        "Nothing has expired yet; the next event lets it.",
        {"late_ms": run.jumped_ms},
    )
