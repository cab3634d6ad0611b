"""`ledger sql` and `ledger query`: any question, and the questions that come with the ledger."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ledger.cli.asking import catalog, rows_of
from ledger.cli.examples import example
from ledger.cli.output import Csv, Form, Json, form, rows
from ledger.cli.place import place


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog=example(
            'ledger sql "select count(*) as n from events" --json',
            'ledger sql "select role, sum(cost_microdollars) from agents group by all" --csv',
            "ledger sql - < question.sql",
        )
    )(sql)
    app.command(
        epilog=example(
            "ledger query",
            "ledger query runs_by_cost",
            "ledger query runs_by_cost -p limit=5 --json",
        )
    )(query)


def sql(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="One select; `-` reads it from standard input.")],
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Ask anything in SQL (DuckDB's), of everything recorded up to a second ago. Changes nothing.

    The views are events, verdicts, refused, runs, agents, tool_calls, model_calls, handoffs,
    findings, budgets and orders; `ledger docs queries` lists their columns.
    """
    how = form(as_json, as_csv)
    text = sys.stdin.read() if question == "-" else question
    with catalog(place(context)) as opened:
        answer = opened.sql(text)
        rows(answer.column_names, rows_of(answer), how)


def query(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A query; without one, lists them.")] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", help="A parameter of the query.", metavar="NAME=VALUE"),
    ] = None,
    show_sql: Annotated[bool, typer.Option("--sql", help="Print its SQL, ask nothing.")] = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Ask a question that comes with the ledger, or list the questions there are."""
    from ledger.catalog.queries import find

    how = form(as_json, as_csv)
    if name is None:
        _list(how)
        return
    question = find(name)
    if show_sql:
        print(question.sql, end="")
        return
    given = dict(_pair(text) for text in parameters or [])
    with catalog(place(context)) as opened:
        answer = opened.query(name, **given)
        rows(answer.column_names, rows_of(answer), how, empty=f"{name}: nothing")


def _list(how: Form) -> None:
    from ledger.catalog import Catalog

    listed = [
        (found.name, found.question, ", ".join(f"{k}={_shown(v)}" for k, v in found.params.items()))
        for found in Catalog.queries().values()
    ]
    rows(["query", "question", "parameters"], listed, how)


def _shown(default: object) -> str:
    return "…" if default is ... else str(default)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="-p")
    return name.lstrip("$"), value
