"""`ledger schema`: the JSON Schema of what is on the wire, for publishers in any language."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ledger.cli.examples import example
from ledger.cli.output import one_json


class Subject(StrEnum):
    """What has a schema."""

    EVENT = "event"
    VERDICT = "verdict"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("ledger schema > event.json", "ledger schema verdict"))(schema)


def schema(
    subject: Annotated[Subject, typer.Argument(help="`event` or `verdict`.")] = Subject.EVENT,
) -> None:
    """Print the JSON Schema of an event, or of a verdict.

    An event is what agents, clients and people write; a verdict is what the judge says of one.
    Each is one JSON object (draft 2020-12); fields that have their default may be left out.
    """
    from ledger import wire

    one_json(wire.event_schema() if subject is Subject.EVENT else verdict_schema())


def verdict_schema() -> dict[str, object]:
    """JSON Schema of one verdict on the wire (draft 2020-12)."""
    from pydantic import TypeAdapter

    from ledger.core.verdicts import Verdict

    found = TypeAdapter(Verdict).json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Verdict", **found}
