"""The one tuple that lists the detectors, and what it takes to be one.

A detector is a module with
    NAME     the finding it makes, and the name of its rule under `findings` in the policy
    DECIDES    event class -> function(run, agent, event, slot, rule) -> Signal | None
               reads the state as it was *before* the event; changes nothing
    REMEMBERS  event class -> function(run, agent, event, slot, offset)
               changes its own memory, `run.memory[slot]` and `agent.memory[slot]`, and
               nothing else; called before the event changes the tree
`agent` is the one who acts; of `agent_started` it is the parent, the child being not yet there.
Memory is None until a detector needs it, bounded, and made of ints, strings, lists, tuples,
dicts, bytearrays and arrays of 64-bit integers (`codec.py` writes it down as JSON).

To add one: write the file, add it to DETECTORS, add its rule to `policy.Findings`, and write
a story where it speaks and one where it stays silent.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from ledger.core.detectors import (
    delegation_too_deep,
    duplicated_work,
    repeated_step,
    runaway_fan_out,
)
from ledger.core.detectors.signal import Signal
from ledger.core.events import Event
from ledger.core.policy import Policy, Rule
from ledger.core.state import Agent, Run

DETECTORS: tuple[ModuleType, ...] = (
    runaway_fan_out,
    delegation_too_deep,
    repeated_step,
    duplicated_work,
)
NAMES: tuple[str, ...] = tuple(detector.NAME for detector in DETECTORS)

Decide = Callable[[Run, Agent, Any, int, Any], Signal | None]
Remember = Callable[[Run, Agent, Any, int, int], None]

Deciders = tuple[tuple[int, Decide], ...]
Rememberers = tuple[tuple[int, Remember], ...]


def deciders(cls: type[Event]) -> Deciders:
    """(slot, function) of each detector that decides on this event class."""
    return tuple((i, d.DECIDES[cls]) for i, d in enumerate(DETECTORS) if cls in d.DECIDES)


def rememberers(cls: type[Event]) -> Rememberers:
    """(slot, function) of each detector that remembers this event class."""
    return tuple((i, d.REMEMBERS[cls]) for i, d in enumerate(DETECTORS) if cls in d.REMEMBERS)


def rules(policy: Policy) -> tuple[Rule, ...]:
    """The rule of each detector, in the order of DETECTORS."""
    return tuple(getattr(policy.findings, name) for name in NAMES)
