"""Fleets that grow: more agents than anybody asked for, faster than anybody can look."""

# ruff: noqa: PLR2004  The numbers are what a scenario says.

from __future__ import annotations

from ledger.simulate.acts import Act, Behaviour, CallTool, Me, Script, Spawn, Think, Wait
from ledger.simulate.scenario import sick
from ledger.simulate.scenarios.habits import (
    MINUTE,
    SECOND,
    around,
    exactly,
    insist,
    share,
    turns,
    worker,
)

_WAVES = (2, 17, 16, 188, 19)


@sick(
    "2 calls become 242 agents in five minutes: 2, 17, 16, then 188 in one minute",
    incident="anthropics/claude-code #69332",
    speaks=("runaway_fan_out",),
    may=("delegation_too_deep",),
    limit="agent.open_children_max",
    killed=True,
    task="Rename a helper in two packages.",
)
def fan_out_242(me: Me) -> Script:
    """The lead starts the first wave and its session ends before the last: the fleet does not."""
    yield from turns(me, 1)
    yield from _wave(me, 0, 0, 1)
    yield Think(4 * MINUTE - me.now_ms)


def _of_wave(wave: int, rank: int) -> Behaviour:
    def agent(me: Me) -> Script:
        yield from turns(me, 1, cache_read=20_000)
        if wave + 1 < len(_WAVES):
            yield from _wave(me, wave + 1, rank, _WAVES[wave])
        yield from turns(me, 6, cache_read=30_000)

    return agent


def _wave(me: Me, wave: int, rank: int, parents: int) -> Script:
    """This parent's share of a wave, within its minute. The thread says 2, 17, 16, 188 and
    about 242 in all; that the rest came in the fifth minute is made up."""
    before = sum(share(_WAVES[wave], parents)[:rank])
    mine = share(_WAVES[wave], parents)[rank]
    begin = wave * MINUTE + SECOND * (1 if wave else 0)
    times = sorted(begin + me.random.randrange(50 * SECOND) for _ in range(mine))
    for number, at_ms in enumerate(times):
        if at_ms > me.now_ms:
            yield Think(at_ms - me.now_ms)
        child = _of_wave(wave, before + number)
        spawn = Spawn(child, role="helper", own_process=True, waste=wave > 0)
        yield from insist(spawn, times=2, gap_ms=4 * SECOND)


@sick(
    "5 agents become more than 361 in minutes, each starting more; the host dies",
    incident="anthropics/claude-code #72566",
    speaks=("runaway_fan_out",),
    may=("delegation_too_deep",),
    limit="run.agents_live_max",
    killed=True,
    agents_cap=361,
    task="Audit the five services.",
)
def fan_out_361(me: Me) -> Script:
    """Five are wanted; each of them, and each of theirs, starts three more."""
    for _ in range(5):
        yield Spawn(_breeder, role="auditor")
    yield Wait()


def _breeder(me: Me) -> Script:
    yield from turns(me, 1, cache_read=40_000)
    for _ in range(3):
        yield Think(around(me, 12 * SECOND))
        yield from insist(Spawn(_breeder, role="auditor", waste=True), 3, 3 * SECOND)
    yield from turns(me, 40, cache_read=60_000)
    yield Wait()


@sick(
    "19 spawns in 190 s, the smallest gap 0.4 s; 3 of them were authorised",
    incident="WingedGuardian/GENesis-AGI #1658",
    speaks=("runaway_fan_out",),
    limit="agent.open_children_max",
    task="Look into three failing checks.",
)
def spawns_19_in_190_s(me: Me) -> Script:
    """One lead, 18 gaps of 190 s together, and children that outlive the burst."""
    gaps = [me.random.randrange(1_000, 20_000) for _ in range(17)]
    total = 190 * SECOND - 400
    gaps = [gap * total // sum(gaps) for gap in gaps]
    gaps[0] += total - sum(gaps)
    gaps.insert(me.random.randrange(18), 400)
    at_ms = 0
    for number, gap in enumerate([0, *gaps]):
        at_ms += gap
        if at_ms > me.now_ms:
            yield Think(at_ms - me.now_ms)
        yield Spawn(worker(45, cache_read=20_000), role="checker", waste=number >= 3)
    yield Wait()


_TOKENS, _WASTED_TOKENS = 897_000, 724_776


@sick(
    "3 agents asked for, 24 ran; 80.8 % of 897,000 tokens wasted, mostly cache reads",
    incident="anthropics/claude-code #82565",
    speaks=("runaway_fan_out",),
    limit="agent.open_children_max",
    task="Compare three libraries.",
)
def asked_3_ran_24(me: Me) -> Script:
    """The thread's token counts, to the token; how they spread over agents is made up."""
    asked = share(_TOKENS - _WASTED_TOKENS, 3)
    extra = share(_WASTED_TOKENS, 21)
    for number, tokens in enumerate(asked + extra):
        yield Think(around(me, 3 * SECOND))
        yield Spawn(_spender(tokens), role="comparer", waste=number >= len(asked))
    yield Wait()


def _spender(tokens: int) -> Behaviour:
    def agent(me: Me) -> Script:
        for part in share(tokens, 6):
            answer = yield exactly(part, cache_read_per_mille=900, ms=around(me, 15 * SECOND))
            if answer.denied:
                return
            yield CallTool("read", {"by": me.name, "part": part, "at": me.now_ms})

    return agent


@sick(
    "1 agent becomes 48, four of them on the same API",
    incident="anthropics/claude-code #68110",
    speaks=("runaway_fan_out", "duplicated_work"),
    limit="run.agents_live_max",
    task="Document the public API.",
)
def fan_out_48(me: Me) -> Script:
    """Four start the rest, and all four read the same pages of the same API first."""
    for _ in range(4):
        yield Spawn(_same_api, role="writer", task="Document the endpoint /v1/users.")
    yield Wait()


def _same_api(me: Me) -> Script:
    for page in range(5):
        yield CallTool("fetch", {"url": "/v1/users", "page": page}, result=page, ms=2 * SECOND)
        yield Think(around(me, 2 * SECOND))
    more: Act = Spawn(worker(30, cache_read=15_000), role="writer", waste=True)
    for _ in range(11):
        yield Think(around(me, SECOND))
        yield from insist(more, 3, 2 * SECOND)
    yield Wait()
