"""Fleets that spend past a cap, or that a leaking cap would stop too early."""

# ruff: noqa: PLR2004  The numbers are what a scenario says.

from __future__ import annotations

from ledger.core.shapes import Units
from ledger.simulate.acts import (
    Behaviour,
    CallModel,
    CallTool,
    Crash,
    Me,
    Script,
    Spawn,
    Think,
    Wait,
)
from ledger.simulate.scenario import healthy, sick
from ledger.simulate.scenarios.habits import MINUTE, SECOND, around


@sick(
    "5 calls at once under a cap of $0.45 spend $0.60: check, then act",
    incident="BerriAI/litellm PR #40002, #34732",
    limit="contract.microdollars",
    task="Classify five tickets for 45 cents.",
)
def cap_of_45_cents(me: Me) -> Script:
    """Five callers under one contract, a call of 12 cents each, within a tenth of a second."""
    yield Spawn(_five_callers, role="classifier", budget=Units(microdollars=450_000))
    yield Wait()


def _five_callers(me: Me) -> Script:
    for ticket in range(5):
        yield Spawn(_twelve_cents(ticket), role="caller", task=f"Classify ticket {ticket}.")
    yield Wait()


def _twelve_cents(ticket: int) -> Behaviour:
    def call(me: Me) -> Script:
        yield Think(max(1, 2 * SECOND - me.now_ms) + me.random.randrange(100))
        yield CallModel(input=30_000, output=2_000, ms=around(me, 6 * SECOND), waste=ticket > 2)

    return call


@sick(
    "a cap of 10 calls: the parent makes 9, its child 5, and 14 happen",
    incident="aflock #135, truefoundry/trueforge #375",
    limit="contract.tool_calls",
    task="At most ten lookups.",
)
def cap_10_got_14(me: Me) -> Script:
    """The child counted for itself. In the ledger a contract covers all below it."""
    yield Spawn(_parent_of_9, role="parent", budget=Units(tool_calls=10))
    yield Wait()


def _parent_of_9(me: Me) -> Script:
    yield Spawn(_lookups(5), role="child")
    yield from _lookups(9)(me)
    yield Wait()


def _lookups(count: int) -> Behaviour:
    def look(me: Me) -> Script:
        for number in range(count):
            query = {"by": me.name, "number": number}
            if (yield CallTool("lookup", query, f"{me.name} {number}", around(me, 300))).denied:
                return
            yield Think(around(me, 500))

    return look


@healthy(
    "$56 of real work under a cap of $60 while processes die with leases in hand",
    incident="BerriAI/litellm #40050, #30460, #27639",
    task="Index the archive for 60 dollars.",
)
def leaky_reservations(me: Me) -> Script:
    """The thread's gateway counted 111 dollars of a real 56 and refused. Here 20 workers cost
    $2.80 each, and every fourth has a helper that dies holding what it reserved."""
    yield Spawn(_indexer, role="indexer", budget=Units(microdollars=60_000_000))
    yield Wait()


def _indexer(me: Me) -> Script:
    for batch in range(20):
        task = f"Index batch {batch} of 20."
        yield Spawn(_works, role="hand", task=task, own_process=True)
        if batch % 4 == 3:
            yield Spawn(_dies, role="hand", task=f"Count {batch}.", own_process=True)
        yield Wait()
        yield Think(around(me, SECOND))


def _works(me: Me) -> Script:
    for page in range(10):
        yield CallModel(input=50_000, output=8_000, cache_read=33_333, ms=around(me, 3 * SECOND))
        yield CallTool("index", {"by": me.name, "page": page}, result=page)


def _dies(me: Me) -> Script:
    yield CallTool("count", {"by": me.name})
    yield CallTool("count", {"by": me.name, "again": True})
    yield Crash()


@sick(
    "cache reads to output tokens 225 to 1: a budget that leaves them out sees nothing",
    incident="anthropics/claude-code #94013",
    limit="run.tokens_max",
    task="Keep the changelog in order.",
)
def cache_reads_225_to_1(me: Me) -> Script:
    """Four agents with a context of 180,000 tokens, read again at every turn of 800 out."""
    for part in range(4):
        yield Spawn(_rereader, role="editor", task=f"Keep part {part} in order.")
    yield Wait()


def _rereader(me: Me) -> Script:
    for turn in range(160):
        late = turn >= 100
        again = CallModel(
            input=200, output=800, cache_read=180_000, ms=around(me, 9 * SECOND), waste=late
        )
        if (yield again).denied:
            return
        yield CallTool("edit", {"by": me.name, "turn": turn}, result=turn, waste=late)
        if turn % 20 == 19:
            yield Think(around(me, MINUTE))
