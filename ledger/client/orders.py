"""Orders: seen on every ledger call, laid on the agents of this process, answered by a receipt.

What a newcomer would get wrong
    A number in shared memory says that there is a new order; the control table says which. So
    an order never queues behind a flood of events, and needs no judge to bite.
    A task that waits outside the ledger is cancelled by the listening thread; everything else
    stops at its next ledger call.
    Orders for runs of other processes are stepped over: who joins a run later looks again.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ledger.client.answers import Killed
from ledger.client.drafts import make
from ledger.client.leases import give_back
from ledger.client.local import LocalAgent, LocalRun
from ledger.core.events import OrderGiven, OrderReceipted
from ledger.core.state import KILL

if TYPE_CHECKING:
    from ledger.client.queue import Queue
    from ledger.core.verdicts import RuleOrder
    from ledger.log.needed import ClientLog

READ_ROWS = 500


class Orders:
    """The orders that hold agents of this process."""

    def __init__(self, log: ClientLog, runs: dict[str, LocalRun], queue: Queue) -> None:
        self._log, self._runs, self._queue = log, runs, queue
        self.hint = self._pos = log.control_end()
        self.start_over()

    def start_over(self) -> None:
        """In a forked child: new locks. What was ordered holds on."""
        self._lock = threading.Lock()

    def look(self) -> None:
        """Take in orders that are new. Called when `log.control_hint()` is not `hint`."""
        with self._lock:
            hint = self._log.control_hint()
            for run, order in self._new():
                local = self._runs.get(run)
                if local is not None:
                    self._lay(local, order)
            self.hint = hint

    def look_back(self, run: LocalRun) -> None:
        """Lay the orders on a run that were given before this process took part in it."""
        with self._lock:
            after = 0
            while rows := self._log.control(after, READ_ROWS):
                for row in rows:
                    if row.run == run.id:
                        self._lay(run, _order(row.value))
                after = rows[-1].pos

    def lay(self, run: str, at_ms: int, given: RuleOrder) -> None:
        """Lay an order that a rule gave at `at_ms`, heard of in its verdict."""
        local = self._runs.get(run)
        if local is not None and given.order not in local.orders:
            order = OrderGiven.model_validate(
                {"run": run, "order": given.order, "action": given.action, "scope": given.scope,
                 "agent": given.agent, "reason": given.reason, "at_ms": at_ms}
            )  # fmt: skip
            with self._lock:
                self._lay(local, order)

    def _new(self) -> list[tuple[str, OrderGiven | None]]:
        found = []
        while rows := self._log.control(self._pos, READ_ROWS):
            found += [(row.run, _order(row.value)) for row in rows if row.run in self._runs]
            self._pos = rows[-1].pos
        return found

    def _lay(self, run: LocalRun, order: OrderGiven | None) -> None:
        if order is None or not run.order(
            order.order, order.action, order.scope, order.agent, order.reason
        ):
            return
        covered = run.in_scope(order.scope, order.agent)
        # Counted before they are stopped: a task that is cancelled ends its calls.
        receipt = _receipt(run, order, covered)
        # Whether there is anything to answer for, too: a task of another thread that is stopped
        # may end the run at once, and the judge still waits for us.
        ended = run.ended
        for agent in covered:
            stop(agent)
            if order.action == "kill":
                give_back(agent, self._queue)
        if order.action != "resume" and not ended:
            self._queue.put(run.id, make, OrderReceipted, receipt)


def _receipt(run: LocalRun, order: OrderGiven, covered: list[LocalAgent]) -> dict[str, object]:
    """From now on nobody here starts anything in the order's scope; what there is, and was
    used since."""
    ids = {agent.id for agent in covered}
    since = [end for end in tuple(run.ends) if end[0] >= order.at_ms and end[1] in ids]
    return {
        "order": order.order,
        "agents_stopped": sum(1 for agent in covered if agent.handles),
        "calls_in_flight": sum(len(agent.calls) for agent in covered),
        "tokens_since": sum(end[2] for end in since),
        "microdollars_since": sum(end[3] for end in since),
    }


def stop(agent: LocalAgent) -> None:
    """Wake everybody of this agent who waits: for an answer, for the end of a pause, in a task."""
    killed = agent.bits & KILL
    with agent.lock:
        pass  # Whoever is about to begin an act has begun it, or sees the order.
    for waiter in tuple(agent.waiters):
        if killed or waiter.any_order:
            waiter.settle(killed_by(agent) if killed else True)
    if not killed:
        return
    in_calls = [call.task for call in tuple(agent.calls.values())]
    for task in (*agent.tasks, *in_calls):
        if task is not None:
            task.cancel(agent.order)


def killed_by(agent: LocalAgent) -> Killed:
    """The kill that holds this agent, to be raised."""
    return Killed(agent.run.id, agent.id, agent.reason, agent.order)


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _order(value: bytes) -> OrderGiven | None:
    # Not `wire.decode`: building the reader of all events takes an agent 0.1 s.
    try:
        return OrderGiven.model_validate_json(value)
    except ValidationError:
        return None  # Not an order that this version knows; its judge denies what it must.
