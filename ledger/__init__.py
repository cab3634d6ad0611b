"""A coordination ledger: decides before an agent acts, remembers everything, answers in SQL."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ledger.client.agent import Agent, Run
    from ledger.client.answers import (
        BadValue,
        Decision,
        Denied,
        Killed,
        NoAgent,
        NotDurable,
        QueueFull,
    )
    from ledger.client.connect import Ledger, connect
    from ledger.client.current import handoff, model_call, plan, spawn, tool_call
    from ledger.client.decorators import agent, model, tool
    from ledger.client.identity import BadIdentity, Identity, identity, propagate
    from ledger.client.receipt import Receipt
    from ledger.core.policy import Policy
    from ledger.core.shapes import Units
    from ledger.errors import LedgerError

# Loaded when first asked for: an agent pays for what it uses.
_PLACES = {
    "ledger.client.agent": ("Agent", "Run"),
    "ledger.client.answers": (
        "BadValue", "Decision", "Denied", "Killed", "NoAgent", "NotDurable", "QueueFull",
    ),
    "ledger.client.connect": ("Ledger", "connect"),
    "ledger.client.current": ("handoff", "model_call", "plan", "spawn", "tool_call"),
    "ledger.client.decorators": ("agent", "model", "tool"),
    "ledger.client.identity": ("BadIdentity", "Identity", "identity", "propagate"),
    "ledger.client.receipt": ("Receipt",),
    "ledger.core.policy": ("Policy",),
    "ledger.core.shapes": ("Units",),
    "ledger.errors": ("LedgerError",),
}  # fmt: skip
_PLACE = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "Agent", "BadIdentity", "BadValue", "Decision", "Denied", "Identity", "Killed", "Ledger",
    "LedgerError", "NoAgent", "NotDurable", "Policy", "QueueFull", "Receipt", "Run", "Units",
    "agent", "connect", "handoff", "identity", "model", "model_call", "plan", "propagate", "spawn",
    "tool", "tool_call",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    place = _PLACE.get(name)
    if place is None:
        raise AttributeError(f"module 'ledger' has no attribute {name!r}")
    value = getattr(import_module(place), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACE})
