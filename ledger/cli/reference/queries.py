"""The page of questions that come with the ledger, and of the views that any question may ask."""
# ruff: noqa: E501 - prose has one sentence per line, however long.

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ledger.cli.reference import markdown as md

if TYPE_CHECKING:
    from ledger.catalog import Query
    from ledger.catalog.engine import View

INTRO = """
Everything that was recorded can be asked in SQL, DuckDB's dialect, also what was recorded a second ago.

- `ledger sql "select …"` asks anything, of the views below, and changes nothing.
- `ledger query NAME -p name=value` asks a question that comes with the ledger.
- `--json` and `--csv` are for programs.

Times are milliseconds since 1970 of the run's clock: `to_timestamp(started_ms / 1000)` makes a time of one.
Money is millionths of a dollar.
To add a question, see [contributing](contributing.md#a-query).
"""


def page() -> str:
    """The page, as Markdown."""
    from ledger.catalog import Catalog

    queries, views = Catalog.queries(), Catalog.views()
    return md.page(
        "Queries",
        INTRO.strip(),
        "## Questions",
        md.table(
            ["query", "asks"],
            [[f"[`{name}`](#{name})", query.question] for name, query in queries.items()],
        ),
        "## Views",
        md.table(
            ["view", "a row is"],
            [[f"[`{name}`](#view-{name})", view.about] for name, view in views.items()],
        ),
        *[_query(query) for query in queries.values()],
        *[_view(view) for view in views.values()],
    )


def example(query: Query) -> str:
    """A command line that asks the question, with the first parameter that it has."""
    given = [f"-p {name}={_value(default)}" for name, default in query.params.items()]
    return " ".join(["ledger query", query.name, *given[:2]])


def _value(default: Any) -> str:
    return "VALUE" if default is ... else str(default) or '""'


def _query(query: Query) -> str:
    parts = [f"## {query.name}", f"{query.question[:1].upper()}{query.question[1:]}"]
    parts.append(f"Why: {query.why}")
    if query.params:
        rows = [
            [md.mono(name), "must be given" if value is ... else md.mono(json.dumps(value))]
            for name, value in query.params.items()
        ]
        parts.append(md.table(["parameter", "default"], rows))
    parts.append(md.code(f"$ {example(query)}", "console"))
    body = "\n".join(line for line in query.sql.splitlines() if not line.startswith("-- "))
    parts.append(md.code(body.strip(), "sql"))
    if query.agrees:
        parts.append(f"Agrees with `{query.agrees}`.")
    return "\n\n".join(parts)


def _view(view: View) -> str:
    columns = [[md.mono(name), means] for name, means in view.columns.items()]
    first = ", ".join(list(view.columns)[:4])
    return "\n\n".join(
        [
            f"## View {view.name}",
            f"{view.about[:1].upper()}{view.about[1:]}",
            md.table(["column", "holds"], columns),
            md.code(f'$ ledger sql "select {first} from {view.name} limit 10"', "console"),
        ]
    )
