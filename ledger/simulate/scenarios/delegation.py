"""Work that is handed down, on or round, and not done."""

# ruff: noqa: PLR2004  The numbers are what a scenario says.

from __future__ import annotations

from ledger.core.shapes import Units
from ledger.simulate.acts import (
    Behaviour,
    CallModel,
    CallTool,
    Constrain,
    HandOff,
    Me,
    Plan,
    Produce,
    Receive,
    Script,
    Spawn,
    Think,
    Wait,
)
from ledger.simulate.scenario import sick
from ledger.simulate.scenarios.habits import SECOND, around, insist, turns, worker


@sick(
    "recursive delegation over 600 dollars: every agent hands its whole task to two more",
    incident="anthropics/claude-code #72732",
    speaks=("runaway_fan_out", "duplicated_work"),
    may=("delegation_too_deep",),
    limit="run.agents_live_max",
    killed=True,
    microdollars_cap=600_000_000,
    task="Migrate the tests to the new runner.",
)
def recursive_delegation(me: Me) -> Script:
    """The account is empty at 600 dollars; nothing else ends it."""
    yield from _delegator(me)


def _delegator(me: Me) -> Script:
    yield CallModel(input=60_000, output=3_000, cache_write=120_000, ms=around(me, 20 * SECOND))
    again = Spawn(_delegator, role="migrator", task="Migrate the tests to the new runner.",
                  waste=True)  # fmt: skip
    for _ in range(2):
        yield from insist(again, 2, 5 * SECOND)
    yield Wait()
    yield CallModel(input=10_000, output=2_000, cache_read=120_000, ms=around(me, 10 * SECOND))


@sick(
    "delegation more than 50 levels deep, one child a level",
    incident="anthropics/claude-code #68430",
    speaks=("delegation_too_deep",),
    limit="run.depth_max",
    task="Find why the build is slow.",
)
def depth_53(me: Me) -> Script:
    """The thread says more than 50; here the 53rd level does the work."""
    yield from _level(53)(me)


def _level(left: int) -> Behaviour:
    def agent(me: Me) -> Script:
        yield CallModel(input=8_000, output=500, ms=around(me, 4 * SECOND))
        if left:
            down = Spawn(_level(left - 1), role="finder", waste=left < 53)
            answer = yield from insist(down, 1, 2 * SECOND)
            if answer.ok:
                yield Wait()
                return
        yield from turns(me, 4, "profile")

    return agent


@sick(
    "each delegation starts a fresh iteration budget, so the guard of 10 never fires",
    incident="crewAI #6414, archestra #6427",
    speaks=("delegation_too_deep",),
    limit="contract.tool_calls",
    task="Answer with at most 10 iterations.",
)
def fresh_budget_each_delegation(me: Me) -> Script:
    """Nine iterations, then a delegate with a counter of its own: 8 levels, 72 calls.

    Under the ledger the ten calls of the contract are those of the whole subtree.
    """
    ten = Units(tool_calls=10)
    yield Spawn(_fresh(7), role="crew", budget=ten)
    yield Wait()


def _fresh(left: int) -> Behaviour:
    def agent(me: Me) -> Script:
        for turn in range(9):
            yield CallModel(input=4_000, ms=around(me, 3 * SECOND), waste=left < 7)
            query = {"by": me.name, "turn": turn}
            yield CallTool("lookup", query, result=f"{me.name} {turn}", waste=left < 7)
        if left:
            yield from insist(Spawn(_fresh(left - 1), role="crew", waste=True), 1, SECOND)
            yield Wait()

    return agent


@sick(
    "A hands to B hands to A: forty handoffs, no progress",
    incident="langgraph #6731, autogen #7409",
    speaks=("repeated_step", "duplicated_work"),
    limit="findings.repeated_step.deny_repeats",
    task="Close ticket 7.",
)
def hands_back_and_forth(me: Me) -> Script:
    """Each looks at the same ticket, finds it is the other's, and hands it over.

    That both look before they hand on is made up; the handoffs are the thread's.
    """
    first = yield Spawn(_hot_potato, role="support")
    second = yield Spawn(_hot_potato, role="billing")
    yield HandOff(first.agent, f"ticket 7; not yours? {second.agent}")
    yield Wait()


_ENOUGH = "I have looked often enough; let a person decide."


def _hot_potato(me: Me) -> Script:
    while True:
        got = (yield Receive()).handoff
        other = "billing-1" if me.name == "support-1" else "support-1"
        if got is None or got.goal == _ENOUGH:
            return
        if me.shared.get("handoffs", 0) >= 40:
            yield HandOff(other, _ENOUGH)
            return
        me.shared["handoffs"] = me.shared.get("handoffs", 0) + 1
        late = me.shared["handoffs"] > 2
        yield CallModel(input=6_000, cache_read=20_000, ms=around(me, 4 * SECOND), waste=late)
        look = CallTool("read_ticket", {"id": 7}, result="open", ms=SECOND, waste=late)
        if (yield look).denied:
            yield HandOff(other, _ENOUGH)
            return
        if not (yield HandOff(other, "ticket 7", mode="transfer")).ok:
            return


@sick(
    "a constraint given to the lead never reaches the subagent, which breaks it",
    incident="anthropics/claude-code #61467, #59309",
    task="Tidy the repository; never touch main.",
)
def constraint_dropped(me: Me) -> Script:
    """Nothing here is counted, so none of the four findings of today can speak."""
    yield Constrain("no-main", "Never push to the main branch.")
    yield Plan("tidy", ("find dead code", "remove it"))
    kept = Spawn(worker(4, "read"), role="scout", constraints=("no-main",))
    yield kept
    yield Wait()
    yield Spawn(_pusher, role="cleaner", task="Remove the dead code that was found.", waste=True)
    yield Wait()


def _pusher(me: Me) -> Script:
    yield from turns(me, 3, "edit")
    yield Think(around(me, SECOND))
    yield CallTool("git_push", {"branch": "main"}, ms=2 * SECOND, waste=True)
    yield Produce("commit-on-main")
