"""The acts of whoever acts here: `ledger.spawn(...)` inside a run is `agent.spawn(...)`.

Each takes what the method of `Agent` takes, and raises NoAgent outside every run.
"""

from __future__ import annotations

from typing import Any

from ledger.client.agent import Spawn
from ledger.client.calls import ModelCall, ToolCall
from ledger.client.identity import here
from ledger.client.work import Handoff, Plan


def spawn(role: str = "", **options: Any) -> Spawn:
    """A child of the current agent: see `Agent.spawn`."""
    return here().spawn(role, **options)


def tool_call(tool: str, args: Any = None, **options: Any) -> ToolCall:
    """A tool call of the current agent: see `Agent.tool_call`."""
    return here().tool_call(tool, args, **options)


def model_call(model: str, **options: Any) -> ModelCall:
    """A model call of the current agent: see `Agent.model_call`."""
    return here().model_call(model, **options)


def handoff(to: str, **options: Any) -> Handoff:
    """Work offered by the current agent: see `Agent.handoff`."""
    return here().handoff(to, **options)


def plan(goal: str = "", **options: Any) -> Plan:
    """A plan of the current agent: see `Agent.plan`."""
    return here().plan(goal, **options)
