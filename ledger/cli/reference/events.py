"""The page of events: who writes each, its fields, what it changes, an example."""
# ruff: noqa: E501 - prose has one sentence per line, however long.

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from ledger import wire
from ledger.cli.reference import markdown as md
from ledger.cli.reference.about_events import ABOUT, EXAMPLES
from ledger.cli.reference.glossary import ENVELOPE, meaning
from ledger.core.events import EVENT_TYPES, Event, RunStarted
from ledger.core.shapes import Contract, Step, Units

SHARED: tuple[type[BaseModel], ...] = (Contract, Step, Units)

INTRO = """
What agents, clients and people write.
What the judge writes is a [verdict](verdicts.md); the one event that it writes is `ticked`.

An event is one JSON object, UTF-8, of at most 1 MiB.
`type` is always there; a field that has its default may be left out.
A field that is not in this table is refused, and so is a value out of its bounds: the bytes go to the refused log with the reason.
`ledger schema` prints the JSON Schema.
"""


def page() -> str:
    """The page, as Markdown."""
    return md.page(
        "Events",
        INTRO.strip(),
        md.table(
            ["event", "who writes it", "what it changes"],
            [
                [f"[`{name(cls)}`](#{name(cls)})", ABOUT[cls].writer, ABOUT[cls].changes]
                for cls in EVENT_TYPES
            ],
        ),
        "## The envelope",
        "Every event has these fields.",
        _fields(RunStarted, "", list(ENVELOPE)),
        *[section(cls) for cls in EVENT_TYPES],
        "## Shapes that events share",
        *[_shape(cls) for cls in SHARED],
    )


def name(cls: type[Event]) -> str:
    """The `type` of an event class."""
    return str(cls.model_fields["type"].default)


def section(cls: type[Event]) -> str:
    """One event."""
    own = [field for field in cls.model_fields if field not in Event.model_fields]
    example = next(event for event in EXAMPLES if type(event) is cls)
    parts = [
        f"## {name(cls)}",
        md.prose(cls.__doc__),
        f"Written by: {ABOUT[cls].writer}.\nChanges: {ABOUT[cls].changes}.",
        _fields(cls, name(cls), own) if own else "No fields of its own.",
        md.code(pretty(wire.encode(example)), "json"),
    ]
    return "\n\n".join(parts)


def pretty(value: bytes) -> str:
    """JSON for reading."""
    return json.dumps(json.loads(value), indent=2, ensure_ascii=False)


def _shape(cls: type[BaseModel]) -> str:
    title = cls.__name__
    parts = [f"### {title}", md.prose(cls.__doc__), _fields(cls, title, list(cls.model_fields))]
    return "\n\n".join(parts)


def _fields(cls: type[BaseModel], place: str, names: list[str]) -> str:
    schema = cls.model_json_schema()
    return md.table(
        ["field", "holds", "default", "means"],
        [
            [
                md.mono(field),
                _holds(schema, place, field),
                _default(schema, field),
                meaning(place, field),
            ]
            for field in names
        ],
    )


def _holds(schema: dict[str, Any], place: str, field: str) -> str:
    """What a field may hold; the envelope is described once, so its type is any event's."""
    if field == "type" and not place:
        return "the name of the event"
    return md.kind(schema["properties"][field], schema)


def _default(schema: dict[str, Any], field: str) -> str:
    if field in schema.get("required", ()) or field == "type":
        return "must be given"
    return md.mono(json.dumps(schema["properties"][field].get("default"), separators=(",", ":")))
