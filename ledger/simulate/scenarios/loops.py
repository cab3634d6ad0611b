"""Fleets that do it again: loops, duplicates, retries."""

# ruff: noqa: PLR2004  The numbers are what a scenario says.

from __future__ import annotations

from ledger.simulate.acts import (
    Behaviour,
    CallModel,
    CallTool,
    Me,
    Produce,
    Script,
    Spawn,
    Think,
    Verify,
    Wait,
)
from ledger.simulate.scenario import sick
from ledger.simulate.scenarios.habits import HOUR, MINUTE, SECOND, around, turns


@sick(
    "a no-op loop of 6.5 hours that nothing could stop",
    incident="anthropics/claude-code #73829",
    speaks=("repeated_step",),
    limit="findings.repeated_step.deny_repeats",
    duration_cap_ms=13 * HOUR // 2,
    task="Fix the flaky test.",
)
def noop_loop(me: Me) -> Script:
    """Every 30 s the same check with the same answer, until somebody comes back.

    Under the ledger the model hears the refusal, tries three more times, and gives up.
    """
    yield from turns(me, 3)
    refused = 0
    while refused < 4:
        yield CallModel(output=40, input=50, cache_read=30_000, ms=8 * SECOND,
                        waste=me.now_ms > 2 * MINUTE)  # fmt: skip
        look = CallTool("status", {"job": 1}, result="no change", waste=me.now_ms > 2 * MINUTE)
        if (yield look).denied:
            refused += 1
        yield Think(30 * SECOND - 8_800)


@sick(
    "30 to 40 % of the runtime goes on re-verifying: three copies of one 15-minute suite",
    incident="rjwalters/loom #8268",
    speaks=("duplicated_work",),
    task="Ship the change with the tests green.",
)
def reverified(me: Me) -> Script:
    """A builder's suite is run again by a judge and by a merger, who do not ask."""
    yield Spawn(_builder, role="builder")
    yield Wait()
    yield Spawn(_checker(8), role="judge")
    yield Wait()
    yield Spawn(_checker(12), role="merger")
    yield Wait()


_SUITE_MS = 15 * MINUTE


def _suite(*, waste: bool) -> CallTool:
    return CallTool(
        "run_tests", {"suite": "all", "commit": "c0ffee"}, "green", _SUITE_MS, waste=waste
    )


def _builder(me: Me) -> Script:
    for edit in range(12):
        yield CallModel(cache_read=40_000, output=1_200, ms=around(me, 40 * SECOND))
        yield CallTool("edit", {"file": f"part_{edit}.py"}, result=edit, ms=20 * SECOND)
    yield Think(18 * MINUTE)
    yield _suite(waste=False)
    yield Produce("change")


def _checker(reads: int) -> Behaviour:
    def check(me: Me) -> Script:
        for page in range(reads):
            yield CallModel(cache_read=30_000, ms=around(me, 15 * SECOND))
            yield CallTool("read", {"by": me.name, "page": page}, result=page)
        answer = yield _suite(waste=True)
        if answer.ok:
            yield CallModel(cache_read=60_000, output=300, ms=5 * SECOND, waste=True)
        yield Verify("change")

    return check


@sick(
    "110 reads, 5 of them the same listing again, and no output",
    incident="openhuman #5806",
    task="Explain the module.",
)
def reads_110(me: Me) -> Script:
    """Nothing comes round in a cycle: that nothing comes out is for a finding of later."""
    again = sorted(me.random.sample(range(15, 105), 4))
    for read in range(110):
        yield CallModel(cache_read=1_000 * read, output=60, ms=around(me, 3 * SECOND),
                        waste=read > 30)  # fmt: skip
        if read == 4 or read in again:
            yield CallTool("list", {"path": "src"}, result="a b c", waste=read in again)
        else:
            yield CallTool("read", {"path": f"src/{read}.py"}, result=read, waste=read > 30)


_STORM, _OTHER = 138, 7


@sick(
    "15 agents in one sweep: 138 of 145 errors are 429s, a retry storm they feed each other",
    incident="clodex #81",
    speaks=("runaway_fan_out", "repeated_step"),
    limit="findings.repeated_step.deny_repeats",
    by_name=True,
    task="Sweep the fifteen feeds.",
)
def retry_storm(me: Me) -> Script:
    """The upstream answers once 138 calls were turned away, or when it is left alone a while.

    Errors are the thread's to the number; which call meets them is the seed's.
    """
    me.shared["storm"], me.shared["last_ms"] = _STORM, 0
    for feed in range(15):
        answer = yield Spawn(_sweeper(feed), role="sweeper")
        if answer.denied:
            yield Wait()
            yield Spawn(_sweeper(feed), role="sweeper")
    yield Wait()


def _sweeper(feed: int) -> Behaviour:
    def sweep(me: Me) -> Script:
        other = feed < _OTHER
        refused = 0
        args = {"feed": feed}
        yield CallModel(ms=around(me, 2 * SECOND))
        while refused < 3:
            error = _upstream(me)
            if not error and other:
                other, error = False, "connection reset"
            answer = yield CallTool(
                "fetch", args, f"feed {feed}", around(me, 400), error, retry=True, waste=bool(error)
            )
            if answer.denied:
                refused += 1
                yield Think(around(me, 20 * SECOND))
            elif answer.ok:
                break
            else:
                yield CallModel(ms=around(me, SECOND), output=60, waste=True)
        yield CallModel(ms=around(me, 4 * SECOND), output=800)

    return sweep


def _upstream(me: Me) -> str:
    last_ms, me.shared["last_ms"] = me.shared["last_ms"], me.now_ms
    if me.now_ms > last_ms + 5 * SECOND:
        me.shared["storm"] = 0
    if me.shared["storm"] == 0:
        return ""
    me.shared["storm"] -= 1
    return "429 Too Many Requests"
