"""The shapes that events are made of: ids, texts, counts, and the words they may use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

SAFE_INT_MAX = 2**53 - 1
"""Integers stay within what every JSON reader holds exactly, JavaScript's included (RFC 8259)."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Name = Annotated[str, StringConstraints(max_length=128)]
Text = Annotated[str, StringConstraints(max_length=2048)]
Payload = Annotated[str, StringConstraints(max_length=16384)]
Count = Annotated[int, Field(ge=0, le=SAFE_INT_MAX)]
Fingerprint = Annotated[int, Field(ge=0, le=SAFE_INT_MAX)]
Ids = Annotated[tuple[Id, ...], Field(max_length=64)]
Labels = Annotated[
    dict[Name, Annotated[str, StringConstraints(max_length=512)]], Field(max_length=32)
]

Grade = Literal["declared", "observed", "enforced"]
Outcome = Literal["succeeded", "failed", "cancelled", "killed", "lost", "unknown"]
Action = Literal["kill", "drain", "pause", "resume"]
Scope = Literal["agent", "subtree", "run"]
Mode = Literal["delegate_and_wait", "delegate_and_continue", "transfer"]


class Units(BaseModel):
    """An amount of each budget unit: counts, tokens (cache reads included), micro-dollars."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    spawns: Count = 0
    tool_calls: Count = 0
    model_calls: Count = 0
    tokens: Count = 0
    microdollars: Count = 0


class Step(BaseModel):
    """One step of a plan; spawns and calls cite its id."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    id: Id
    text: Text = ""
    after: Ids = ()


Steps = Annotated[tuple[Step, ...], Field(max_length=256)]


class Contract(BaseModel):
    """What a handoff gives and asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    goal: Text = ""
    constraints: Ids = ()
    authority: Ids = ()
    budget: Units | None = None
    returns: Text = ""
    deadline_ms: Count = 0
