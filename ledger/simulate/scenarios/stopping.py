"""Fleets that somebody tries to stop."""

from __future__ import annotations

from ledger.simulate.acts import CallModel, CallTool, Me, Order, Script, Spawn, Think, Wait
from ledger.simulate.scenario import healthy, sick
from ledger.simulate.scenarios.habits import MINUTE, SECOND, share, turns, worker

_CALLS_AFTER, _TOKENS_AFTER, _AFTER_MS = 176, 750_000, 30 * MINUTE
_KILL_MS = 5 * MINUTE


def _kills_parent(me: Me) -> Script:
    yield Think(_KILL_MS)
    yield Order("kill", "subtree", "manager-1", "it is doing the wrong thing")


@sick(
    "the parent is killed, its child runs 30 more minutes: 176 tool calls, 750,000 tokens",
    incident="anthropics/claude-code #95138, #82104",
    killed=True,
    operator=_kills_parent,
    task="Clean the data set.",
)
def orphan_after_kill(me: Me) -> Script:
    """Two threads in one: the calls and minutes of the first, the tokens of the second."""
    yield Spawn(_manager, role="manager", own_process=True)
    yield Wait()


def _manager(me: Me) -> Script:
    yield from turns(me, 2)
    yield Spawn(_orphan, role="cleaner", own_process=True)
    yield Wait()


def _orphan(me: Me) -> Script:
    row = 0
    while me.now_ms < _KILL_MS - 2 * SECOND:
        yield CallTool("clean", {"row": row}, result=row, ms=SECOND)
        yield Think(9 * SECOND)
        row += 1
    yield Think(_KILL_MS + SECOND - me.now_ms)
    every_ms = _AFTER_MS // _CALLS_AFTER
    for tokens in share(_TOKENS_AFTER, _CALLS_AFTER):
        started_ms = me.now_ms
        yield CallTool("clean", {"row": row}, result=row, ms=SECOND, waste=True)
        yield CallModel(input=200, output=60, cache_read=tokens - 260, ms=4 * SECOND, waste=True)
        yield Think(started_ms + every_ms - me.now_ms)
        row += 1


def _pauses(me: Me) -> Script:
    yield Think(40 * SECOND)
    yield Order("pause", "run", reason="let me look at this")
    yield Think(3 * MINUTE)
    yield Order("resume", "run")


@healthy(
    "a team is paused for three minutes and finishes after it is resumed",
    operator=_pauses,
    task="Summarise four reports.",
)
def paused_and_resumed(me: Me) -> Script:
    """A pause is nobody's failure."""
    for report in range(4):
        yield Spawn(worker(8), role="reader", task=f"Summarise report {report + 1} of 4.")
    yield Wait()
    yield from turns(me, 2)


def _drains(me: Me) -> Script:
    yield Think(50 * SECOND)
    yield Order("drain", "run", reason="the machine goes down at noon")


@healthy(
    "a batch is drained by a person: who is at work finishes, nobody new starts",
    operator=_drains,
    limit="order.drain",
    task="Translate until told to stop.",
)
def drained_by_hand(me: Me) -> Script:
    """A drain refuses spawns; that is its purpose and no finding."""
    for page in range(30):
        answer = yield Spawn(worker(4), role="translator", task=f"Translate page {page} of 30.")
        if answer.denied:
            break
        yield Think(8 * SECOND)
    yield Wait()
