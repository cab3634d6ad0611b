"""The page of verdicts: what the judge says of an event."""
# ruff: noqa: E501 - prose has one sentence per line, however long.

from __future__ import annotations

import json
from typing import Any

from ledger import wire
from ledger.cli.reference import examples
from ledger.cli.reference import markdown as md
from ledger.cli.reference.events import pretty
from ledger.cli.reference.glossary import VERDICTS
from ledger.cli.schema import verdict_schema
from ledger.core import verdicts

INTRO = """
What the judge says.
All that is said of one event is one verdict, and most events need none.
Its id is its partition and its offset, which is that of the event; it takes effect there, not where it stands in the verdict log.
A verdict that was published is never decided anew, not by newer code either.
`ledger schema verdict` prints the JSON Schema.
"""


def page() -> str:
    """The page, as Markdown."""
    schema: dict[str, Any] = verdict_schema()
    parts = ["## Fields", _fields(schema, "")]
    for name in sorted(schema["$defs"]):
        inner = schema["$defs"][name]
        about = md.prose(getattr(verdicts, name).__doc__)
        parts += [f"## {name}", about, _fields(inner, f"{name}.")]
    shown = []
    for title, verdict in examples.verdicts():
        shown += [f"## Example: {title}", md.code(pretty(wire.encode_verdict(verdict)), "json")]
    return md.page("Verdicts", INTRO.strip(), *parts, *shown)


def _fields(schema: dict[str, Any], place: str) -> str:
    rows = []
    for field, inner in schema["properties"].items():
        default = "always there"
        if field not in schema["required"]:
            default = md.mono(json.dumps(inner.get("default", {})))
        rows.append([md.mono(field), md.kind(inner, schema), default, VERDICTS[place + field]])
    return md.table(["field", "holds", "default", "means"], rows)
