"""Small documents of each format, made by hand, and the fold that must accept them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from ledger.core.events import (
    AgentEnded,
    AgentStarted,
    Event,
    OutcomeReported,
    Record,
    RunEnded,
    RunStarted,
)
from ledger.core.fold import fold
from ledger.core.state import State
from ledger.importers import FORMATS, ImportedRun, RefusedFile

DAY = "2026-01-05T10:00:"


def observation(
    name: str, type: str, start: float, end: float | None, **fields: Any
) -> dict[str, Any]:
    """An observation from `start` to `end` seconds past ten; its id is its name, if not said."""
    attributes = fields.pop("attributes", None)
    parent = fields.pop("parent", None)
    return {
        "id": fields.pop("id", name),
        "name": name,
        "type": type,
        "startTime": f"{DAY}{start:06.3f}Z",
        "endTime": None if end is None else f"{DAY}{end:06.3f}Z",
        "parentObservationId": parent,
        "metadata": {"attributes": attributes} if attributes else {},
        **fields,
    }


def trace(*observations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A Langfuse export of one trace."""
    return {"trace": {"id": "t1", "name": "demo", **fields}, "observations": list(observations)}


def read(format: str, document: object) -> list[ImportedRun | RefusedFile]:
    """What an importer makes of a document."""
    return list(FORMATS[format].read(document, origin="made"))


def read_one(format: str, document: object) -> ImportedRun:
    """The one run of a document."""
    [result] = read(format, document)
    assert isinstance(result, ImportedRun), result
    return result


def refusals(events: Iterable[Event]) -> list[str]:
    """Why the fold refuses events, in order."""
    state, offsets = State(), count(1)
    verdicts = [fold(state, Record(next(offsets), 0, event)) for event in events]
    return [verdict.refusal for verdict in verdicts if verdict is not None and verdict.refusal]


def check(run: ImportedRun) -> None:
    """What is true of every imported run, whatever it came from."""
    events = run.events
    assert refusals(events) == []
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {(event.run, event.grade) for event in events} == {(run.run, "observed")}
    assert isinstance(events[0], RunStarted)
    assert sum(isinstance(event, RunStarted | RunEnded) for event in events) == 2
    times = [event.at_ms for event in events]
    assert times == sorted(times)
    live, ended = {events[0].agent}, set()
    for event in events:
        if isinstance(event, AgentStarted):
            assert event.parent in live
            live.add(event.agent)
        elif isinstance(event, AgentEnded):
            live.remove(event.agent)
            ended.add(event.agent)
        else:
            over = isinstance(event, RunEnded | OutcomeReported)
            assert event.agent in (live | ended | {""} if over else live)
    assert not live


def lines(run: ImportedRun) -> list[str]:
    """The events as `type agent` and what tells them apart, for reading in an assertion."""
    told = []
    for event in run.events:
        rest = [getattr(event, key, "") for key in ("parent", "call", "to")]
        told.append(" ".join(part for part in (event.type, event.agent, *rest) if part))
    return told


def of(run: ImportedRun, cls: type[Event]) -> list[Any]:
    """The events of one class."""
    return [event for event in run.events if isinstance(event, cls)]
