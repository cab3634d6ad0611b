"""Settings of whoever judges or archives: numbers in variables, and a wrong one is named.

What a newcomer would get wrong
    Limits of a run are in its policy. What is here concerns a process and no run: two judges
    with other settings give the same verdicts.
"""

from __future__ import annotations

import os
from math import inf, nan
from typing import NamedTuple

from ledger.errors import LedgerError

JUDGE_IDLE_S = 30.0
"""How long a judge of a file stays with nobody there and nothing said."""


class BadVariable(LedgerError):
    """The variable `name` holds `value`, and may only hold what is `wanted`."""

    def __init__(self, name: str, value: str, wanted: str) -> None:
        super().__init__(name, value, wanted)
        self.name, self.value, self.wanted = name, value, wanted

    def __str__(self) -> str:
        return f"{self.name} is {self.value!r}; it must be {self.wanted}"


def number(name: str, default: float, *, least: float = 0) -> float:
    """What the variable holds; `default` where it is not set. Raises BadVariable."""
    return _read(name, default, least, "a number")


def whole(name: str, default: int, *, least: int = 1) -> int:
    """The same, without a fraction."""
    return int(_read(name, default, least, "a whole number"))


def _read(name: str, default: float, least: float, kind: str) -> float:
    value = os.environ.get(name)
    if not value:
        return default
    try:
        found = float(value)
    except ValueError:
        found = nan
    if not least <= found < inf or (kind != "a number" and not found.is_integer()):
        raise BadVariable(name, value, f"{kind}, {least:g} or more")
    return found


class MuteLimits(NamedTuple):
    """When a source of refused records is muted in the refused log."""

    in_row_max: int = 100
    """So many of one source in a row mute it ..."""
    muted_ms: int = 60_000
    """... for so long, or until a good record of it."""
    sources_max: int = 1_000
    """So many sources are kept in mind; the oldest is forgotten first."""

    def variables(self) -> dict[str, float]:
        """As variables, which `mute_limits` reads in another process."""
        values = self.in_row_max, self.muted_ms / 1_000, self.sources_max
        return dict(zip(_MUTES, values, strict=True))


_MUTES = "LEDGER_REFUSED_IN_ROW_MAX", "LEDGER_MUTED_S", "LEDGER_REFUSED_SOURCES_MAX"
"""Described by `ledger worker` and `ledger up`."""


def judge_idle_s() -> float:
    """As LEDGER_JUDGE_IDLE_S says, else JUDGE_IDLE_S. Raises BadVariable."""
    return number("LEDGER_JUDGE_IDLE_S", JUDGE_IDLE_S)


def mute_limits() -> MuteLimits:
    """As the variables say. Raises BadVariable."""
    in_row, muted, sources = _MUTES
    usual = MuteLimits()
    return MuteLimits(
        whole(in_row, usual.in_row_max),
        round(number(muted, usual.muted_ms / 1_000, least=1) * 1_000),
        whole(sources, usual.sources_max),
    )
