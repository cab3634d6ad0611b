"""Markdown by the piece: headings, tables, code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

GENERATED = (
    "<!-- Made from the code by `ledger docs --write ledger/docs`. Change the code, not this. -->"
)


def page(title: str, *parts: str) -> str:
    """A page: its title, the note that it is generated, its parts, one blank line between."""
    return "\n\n".join([f"# {title}", GENERATED, *[part for part in parts if part]]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    lines = [_line(head), _line(["---"] * len(head)), *[_line(row) for row in rows]]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def code(text: str, language: str = "") -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def mono(text: object) -> str:
    """Inline code; empty for an empty text."""
    return f"`{text}`" if str(text) else ""


def prose(docstring: str | None) -> str:
    """A docstring as a paragraph: unwrapped, one sentence per line."""
    text = " ".join((docstring or "").split())
    return re.sub(r"(?<=[.!?]) (?=[A-Z`(])", "\n", text)


def kind(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    """What a field may hold, from its JSON Schema: `text, 128 at most`, `0 … 8`, `one of …`."""
    for part in schema.get("anyOf", ()):
        if part.get("type") != "null":
            return f"{kind(part, whole)}, or null"
    if "$ref" in schema:
        name: str = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{word}`" for word in schema["enum"])
    return _plain_kind(schema, whole)


def _plain_kind(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    what = schema.get("type", "any value")
    if what == "string":
        least = "not empty, " if schema.get("minLength") else ""
        most = schema.get("maxLength")
        return f"text, {least}{most:,} characters at most" if most else "text"
    if what == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is None or high is None:
            return "whole number"
        return (
            f"whole number, {low} or more"
            if high == 2**53 - 1 and low >= 0
            else (f"whole number, {low:,} to {high:,}")
        )
    if what == "array":
        inner = kind(
            schema.get(
                "items", schema.get("prefixItems", [{}])[0] if schema.get("prefixItems") else {}
            ),
            whole,
        )
        most = f"at most {schema['maxItems']:,}: " if "maxItems" in schema else ""
        return f"list, {most}{inner}"
    if what == "object":
        inner = kind(schema.get("additionalProperties", {}), whole)
        most = f"at most {schema['maxProperties']:,}: " if "maxProperties" in schema else ""
        return f"object, {most}{inner}"
    return "`true` or `false`" if what == "boolean" else str(what)
