"""Habits that many scripts share: working in turns, asking again, spending to the token."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ledger.simulate.acts import Act, Answer, Behaviour, CallModel, CallTool, Me, Script, Think

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def around(me: Me, ms: int) -> int:
    """A time near `ms`: from half of it to half as much again."""
    return max(1, ms // 2 + me.random.randrange(ms + 1))


def turns(me: Me, count: int, tool: str = "search", **tokens: Any) -> Script:
    """`count` turns of a model call and a tool call that nobody made before.

    Ends early when refused: an agent that heeds finishes with what it has.
    """
    for turn in range(count):
        answer = yield CallModel(ms=around(me, 5 * SECOND), **tokens)
        if answer.denied:
            return
        about = f"{me.name} {turn}"
        answer = yield CallTool(tool, {"q": about}, result=about, ms=around(me, SECOND))
        if answer.denied:
            return


def worker(count: int, tool: str = "search", **tokens: Any) -> Behaviour:
    """An agent that works `count` turns and is done."""

    def work(me: Me) -> Script:
        yield from turns(me, count, tool, **tokens)

    return work


def insist(act: Act, times: int, gap_ms: int) -> Generator[Act, Answer, Answer]:
    """Do the act; when refused, ask again up to `times` times, as a model that does not listen."""
    answer = yield act
    for _ in range(times):
        if answer.denied is None:
            break
        yield Think(gap_ms)
        answer = yield act
    return answer


def exactly(tokens: int, *, cache_read_per_mille: int, ms: int, **more: Any) -> CallModel:
    """One model call of exactly so many tokens, so much of them read from a cache."""
    cache_read = tokens * cache_read_per_mille // 1_000
    output = (tokens - cache_read) // 4
    return CallModel(
        input=tokens - cache_read - output,
        output=output,
        cache_read=cache_read,
        ms=ms,
        **more,
    )


def share(total: int, parts: int) -> list[int]:
    """`total` in `parts` whole parts that differ by one at most and add up."""
    return [total // parts + (part < total % parts) for part in range(parts)]
