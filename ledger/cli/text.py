"""How values become text that is safe and pleasant to read on a terminal.

What a newcomer would get wrong
    Ids and texts come from agents, that is, from strangers: an escape sequence in a task would
    move the cursor or set the clipboard of the operator who looks at it. `safe` shows control
    characters, and those that reorder text, as escapes. Everything shown goes through it.
"""

from __future__ import annotations

import re
import time

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional overrides, lone halves
# of surrogate pairs, and tags (invisible letters).
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)

CLOCK_MIN_MS = 31_536_000_000
"""A time before 1971 is no time: an import without times counts its events instead."""
CENTS = 100_000
"""Micro-dollars (ten cents) below which money is shown with four digits."""
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000


def safe(text: str) -> str:
    """The text with characters that would act, not show, written as escapes."""
    return UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def money(microdollars: object) -> str:
    """`$12.34` of millionths of a dollar; four digits below ten cents, so that cents show."""
    if not isinstance(microdollars, int):
        return ""
    digits = 4 if 0 < abs(microdollars) < CENTS else 2
    return f"${microdollars / 1_000_000:,.{digits}f}"


def count(number: object) -> str:
    """`12,345`; from a million on `1.2M`, so that columns stay narrow."""
    if not isinstance(number, int):
        return ""
    for factor, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if abs(number) >= factor:
            return f"{number / factor:.1f}{letter}"
    return f"{number:,}"


def duration(ms: object) -> str:
    """`850 ms`, `12.4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if not isinstance(ms, int):
        return ""
    if ms < _SECOND:
        return f"{ms} ms"
    if ms < _MINUTE:
        return f"{ms / _SECOND:.1f} s"
    whole, part, words = _DAY, _HOUR, ("d", "h")
    if ms < _HOUR:
        whole, part, words = _MINUTE, _SECOND, ("min", "s")
    elif ms < _DAY:
        whole, part, words = _HOUR, _MINUTE, ("h", "min")
    rest = ms % whole // part
    return f"{ms // whole} {words[0]}" + (f" {rest} {words[1]}" if rest else "")


def when(at_ms: object) -> str:
    """Milliseconds since 1970 as local time, `2026-03-01 14:05:09`; empty when not known."""
    if not isinstance(at_ms, int) or at_ms < CLOCK_MIN_MS:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1_000))


def clock(at_ms: object) -> str:
    """Milliseconds since 1970 as the local time of day, `14:05:09.123`; empty for 0."""
    if not isinstance(at_ms, int) or at_ms <= 0:
        return ""
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1_000)) + f".{at_ms % 1_000:03d}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 agent`, `2 agents`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def cut(text: str, width: int) -> str:
    """The text, shortened to `width` characters with an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"
