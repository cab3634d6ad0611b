"""Giving orders, and hearing what came of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger import wire
from ledger.client.orders import now_ms
from ledger.client.waiter import Waiter
from ledger.core.events import OrderGiven, OrderReceipted

if TYPE_CHECKING:
    from ledger.client.engine import Engine
    from ledger.core.shapes import Action, Scope

READ_ROWS = 1_000
FOLLOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """An order, and what came of it so far. `quiet`: nobody in its scope acts any more.

    `answers` are the receipts of the processes it reached; `may_act` names the holders that have
    not answered, with the milliseconds until their leases end (0: they hold none).
    """

    order: str
    run: str
    action: str
    offset: int
    quiet: bool = False
    waited_ms: int = 0
    answers: tuple[OrderReceipted, ...] = ()
    may_act: tuple[tuple[str, int], ...] = ()

    @property
    def agents_stopped(self) -> int:
        """Agents that were stopped, in all processes that answered."""
        return sum(one.agents_stopped for one in self.answers)

    @property
    def calls_in_flight(self) -> int:
        """Calls that were running when the order came."""
        return sum(one.calls_in_flight for one in self.answers)

    @property
    def tokens_since(self) -> int:
        """Tokens used between the order and its arrival."""
        return sum(one.tokens_since for one in self.answers)

    @property
    def microdollars_since(self) -> int:
        """Cost between the order and its arrival."""
        return sum(one.microdollars_since for one in self.answers)


def give_order(
    engine: Engine, action: Action, run: str, agent: str, subtree: bool, reason: str, by: str,
    wait_s: float | None,
) -> Receipt:  # fmt: skip
    """Put the order into the log and the control table, wake everybody, and maybe wait."""
    id = f"o-{engine.name()}"
    scope: Scope = "run" if not agent else "subtree" if subtree else "agent"
    order = OrderGiven(
        run=run, agent=agent, source=engine.source, at_ms=now_ms(), order=id, action=action,
        scope=scope, reason=reason, by=by,
    )  # fmt: skip
    began_s = time.monotonic()
    waiter = Waiter()
    if wait_s is not None:
        engine.begin()
        engine.log.follow(run)
        engine.verdicts.quiet[id] = waiter
    try:
        offset = engine.log.append_order(run, wire.encode(order))
        if wait_s is None:
            return Receipt(id, run, action, offset)
        quiet = _heard_in_time(engine, run, waiter, began_s + wait_s)
    finally:
        engine.verdicts.quiet.pop(id, None)
    waited_ms = int((time.monotonic() - began_s) * 1000)
    may_act = () if quiet else _may_act(engine, run, id)
    return Receipt(
        id, run, action, offset, quiet, waited_ms, _answers(engine, run, id, offset), may_act
    )


def _heard_in_time(engine: Engine, run: str, waiter: Waiter, until_s: float) -> bool:
    """Whether the waiter was settled. The run need not be one of ours, so it is followed."""
    while True:
        left_s = until_s - time.monotonic()
        if waiter.wait(min(FOLLOW_S, left_s)) is not None:
            return True
        if left_s <= FOLLOW_S:
            return False
        engine.log.follow(run)


def _may_act(engine: Engine, run: str, order: str) -> tuple[tuple[str, int], ...]:
    """Who has not answered, and for how many milliseconds of the run's clock it may act on.

    Read from the state as of the judge's last commit; with no judge the order is not in it, and
    every holder of a lease is named.
    """
    state = engine.log.run_as_judged(run)
    if state is None:
        return ()
    known = state.orders.get(order)
    if known is not None:
        until = dict(known.waiting)
    else:
        until = {}
        for lease in state.leases.values():
            if not lease.forfeit:
                until[lease.holder] = max(until.get(lease.holder, 0), lease.expires_ms)
    return tuple((holder, max(0, ms - now_ms())) for holder, ms in sorted(until.items()))


def _answers(engine: Engine, run: str, order: str, offset: int) -> tuple[OrderReceipted, ...]:
    found: list[OrderReceipted] = []
    after = offset
    mark = b'"order":"%s"' % order.encode()
    while rows := engine.log.read_run(run, READ_ROWS, after_offset=after):
        found += [
            OrderReceipted.model_validate_json(row.value)
            for row in rows
            if b"order_receipted" in row.value and mark in row.value
        ]
        after = rows[-1].offset
    return tuple(found)
