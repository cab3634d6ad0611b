"""Questions kept as files: `queries/<name>.sql`, one select each, the question in its header.

    -- fan_out_by_run: the most children any one agent had open at once.
    -- why:     width drives cost sooner than depth does.
    -- params:  $since_ms=0, $limit=20
    -- agrees:  ledger.core.detectors.runaway_fan_out

A default is JSON; a parameter without one must be given.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from ledger.catalog.errors import QueryUnknown, QueryWrong

_HEADER = re.compile(r"^-- (?P<key>[a-z_0-9]+): +(?P<text>\S.*)$")
_PARAM = re.compile(r"^\$(?P<name>[a-z_]+)(?:=(?P<default>.+))?$")


@dataclass(frozen=True, slots=True)
class Query:
    """A question: its name, what it asks, why, its parameters with defaults, its SQL.

    A parameter whose default is `...` must be given. `agrees` names what it must not contradict.
    """

    name: str
    question: str
    why: str
    sql: str
    params: dict[str, Any] = field(default_factory=dict)
    agrees: str = ""

    def bind(self, given: dict[str, Any]) -> dict[str, Any]:
        """Every parameter with its value. A text becomes a number where the default is one.

        Raises QueryWrong for one too many, one missing, or one that is no number.
        """
        if extra := sorted(set(given) - set(self.params)):
            has = ", ".join(f"${name}" for name in self.params) or "none"
            raise QueryWrong(self.name, f"has no parameter {extra[0]!r}; it has: {has}")
        values = self.params | given
        for name, value in values.items():
            if value is ...:
                raise QueryWrong(self.name, f"needs ${name}")
            if isinstance(self.params[name], int) and isinstance(value, str):
                try:
                    values[name] = int(value)
                except ValueError:
                    raise QueryWrong(self.name, f"${name} is a number, not {value!r}") from None
        return values


@cache
def queries() -> dict[str, Query]:
    """Every query by name, sorted. Raises QueryWrong for a file without its header."""
    folder = resources.files("ledger") / "queries"
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return {
        query.name: query
        for file in sorted(files, key=lambda file: file.name)
        for query in [parse(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))]
    }


def find(name: str) -> Query:
    """The query of this name. Raises QueryUnknown."""
    try:
        return queries()[name]
    except KeyError:
        raise QueryUnknown(name, list(queries())) from None


def parse(name: str, text: str) -> Query:
    """A query from the text of its file. Raises QueryWrong, which says what the header lacks."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        found = _HEADER.match(line)
        if not found:
            break
        said[found["key"]] = found["text"].strip()
    for key in (name, "why"):
        if key not in said:
            raise QueryWrong(name, f"its header has no line `-- {key}: ...`")
    params: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in said.get("params", "").split(","))):
        found = _PARAM.match(part)
        if not found:
            raise QueryWrong(name, f"cannot read the parameter {part!r}; write $name=default")
        default = found["default"]
        params[found["name"]] = ... if default is None else json.loads(default)
    return Query(name, said[name], said["why"], text, params, said.get("agrees", ""))
