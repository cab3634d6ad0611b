"""What a scenario is, and the list of those there are.

A scenario is a function that plays the lead of one run, with a line that says what happens.
The decorator puts it in the catalogue under the function's name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ledger.core.detectors import NAMES
from ledger.errors import LedgerError
from ledger.simulate.acts import Behaviour


class UnknownScenario(LedgerError):
    """No scenario has this `name`; `known` lists those there are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        return f"no scenario is called {self.name!r}; there are: {', '.join(self.known)}"


DAY_MS = 86_400_000
"""No scenario lasts longer: a script that a policy keeps from ever getting done is cut off."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fleet and how it behaves.

    `speaks` are the findings that must speak under the default policy, `may` those that may;
    all others must stay silent. `limit` is the policy field that must refuse something (empty:
    none does); `killed`, whether the run or part of it must be. The caps are the world's own end
    of an unwatched run: the host dies, the account is empty, somebody comes back from lunch.
    """

    name: str
    line: str
    lead: Behaviour
    incident: str = ""
    sick: bool = True
    speaks: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    limit: str = ""
    killed: bool = False
    by_name: bool = False
    operator: Behaviour | None = None
    agents_cap: int = 0
    microdollars_cap: int = 0
    duration_cap_ms: int = DAY_MS
    task: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def silent(self) -> tuple[str, ...]:
        """The findings that must not speak under the default policy."""
        return tuple(name for name in NAMES if name not in (*self.speaks, *self.may))

    def to_dict(self) -> dict[str, Any]:
        """What a catalogue shows: plain values."""
        return {
            "scenario": self.name,
            "scripted": True,
            "kind": "sick" if self.sick else "healthy",
            "line": self.line,
            "incident": self.incident,
            "speaks": list(self.speaks),
            "silent": list(self.silent),
            "limit": self.limit,
            "killed": self.killed,
        }


SCENARIOS: dict[str, Scenario] = {}


def sick(line: str, incident: str, **more: Any) -> Callable[[Behaviour], Behaviour]:
    """Register the decorated lead as an incident that people really had."""
    return _register(line=line, incident=incident, sick=True, **more)


def healthy(line: str, **more: Any) -> Callable[[Behaviour], Behaviour]:
    """Register the decorated lead as a fleet that nobody should disturb."""
    return _register(line=line, sick=False, **more)


def _register(**fields: Any) -> Callable[[Behaviour], Behaviour]:
    def register(lead: Behaviour) -> Behaviour:
        name = lead.__name__
        assert name not in SCENARIOS
        SCENARIOS[name] = Scenario(name=name, lead=lead, **fields)
        return lead

    return register


def find(name: str) -> Scenario:
    """The scenario of that name. Raises UnknownScenario."""
    if name not in SCENARIOS:
        raise UnknownScenario(name, tuple(sorted(SCENARIOS)))
    return SCENARIOS[name]
