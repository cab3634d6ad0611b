"""`ledger runs` and `ledger findings`: what ran, what it cost, what was wrong with it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ledger.cli.asking import catalog, find_run, rows_of
from ledger.cli.examples import example
from ledger.cli.output import Column, Csv, Form, Json, form, on_terminal, rows
from ledger.cli.place import place
from ledger.cli.text import count, cut, duration, money, when

UUID_CHARS = 36
TASK_SHOWN = 48
"""Characters of a task that a table shows."""

STYLES = {
    "killed": "bold red", "failed": "red", "lost": "red", "cancelled": "yellow",
    "running": "green", "succeeded": "", "critical": "bold red", "fatal": "bold red",
    "warning": "yellow", "info": "cyan", "paused": "yellow", "draining": "yellow",
}  # fmt: skip
"""How states and severities look."""

RUNS = """
with worst as (
    select run, arg_max(severity, list_position(['info', 'warning', 'critical', 'fatal'], severity))
        as worst
    from findings where level > 0 group by run)
select run, case when killed then 'killed' when outcome is not null then outcome
                 when ended_ms is not null then 'ended' else 'running' end as state,
       grade, tenant, started_ms, duration_ms, agents, depth_max, tool_calls, model_calls, tokens,
       cost_microdollars, cost_unknown, denied, findings, worst, task_key, task
from runs left join worst using (run)
where ($tenant is null or tenant = $tenant) and ($task_key is null or task_key = $task_key)
order by started_ms desc nulls last, run desc
limit $most
"""

FINDINGS = """
select at_ms, run, severity, name, subject, level, effect, mode, reason, facts, evidence, "offset"
from findings
where ($run is null or run = $run) and ($name is null or name = $name)
  and list_position(['info', 'warning', 'critical', 'fatal'], severity)
      >= list_position(['info', 'warning', 'critical', 'fatal'], $least)
  and (level > 0 or $over)
order by at_ms desc, "offset" desc
limit $most
"""

Limit = Annotated[int, typer.Option("--limit", "-n", help="At most so many.", min=1)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=example("ledger runs", "ledger runs --tenant acme -n 5 --json"))(runs)
    app.command(
        epilog=example(
            "ledger findings",
            "ledger findings 0199c0de --severity critical",
            "ledger findings --severity critical --check",
        )
    )(findings)


def style(value: object) -> str:
    """How a state or a severity looks on a terminal."""
    return STYLES.get(str(value), "")


def shorter(run: str) -> str:
    """A run's id: on a terminal a UUID by its first 13 characters, which is when it was made;
    every command takes the beginning of an id. A pipe gets the whole."""
    uuid = len(run) == UUID_CHARS and run[8:9] == "-" == run[13:14]
    return run[:13] if uuid and on_terminal() else run


def runs(
    context: typer.Context,
    limit: Limit = 20,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    task_key: Annotated[str | None, typer.Option(help="Only runs of this task.")] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List runs, the latest first: state, shape, cost, what was refused or found."""
    how = form(as_json, as_csv)
    asked = {"tenant": tenant, "task_key": task_key, "most": limit}
    with catalog(place(context)) as opened:
        answer = opened.sql(RUNS, asked)
        if how is Form.TABLE:
            found = [dict(zip(answer.column_names, row, strict=True)) for row in rows_of(answer)]
            rows(_RUN_COLUMNS, [_run(row) for row in found], how, empty="no runs yet")
        else:
            rows(answer.column_names, rows_of(answer), how)


_RUN_COLUMNS = [
    Column("run", shorter), Column("state", style=style), Column("started", when),
    Column("took", duration), Column("agents"), Column("depth"), Column("calls", count),
    Column("tokens", count), Column("cost"), Column("denied"), Column("findings"), Column("task"),
]  # fmt: skip


def _run(row: dict[str, Any]) -> list[object]:
    cost = money(row["cost_microdollars"])
    if row["cost_unknown"]:
        cost = f"{cost}+?"  # Calls without a price are said, never free.
    found = f"{row['findings']} {row['worst']}" if row["worst"] else str(row["findings"] or "")
    task = row["task_key"] or row["task"] or ""
    return [
        row["run"], row["state"], row["started_ms"], row["duration_ms"], row["agents"],
        row["depth_max"], row["tool_calls"] + row["model_calls"], row["tokens"], cost,
        row["denied"], found, cut(task, TASK_SHOWN),
    ]  # fmt: skip


def findings(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Argument(help="A run, or how its id begins; `last`: the latest.")
    ] = None,
    severity: Annotated[
        str, typer.Option(help="This or worse: info, warning, critical, fatal.")
    ] = "info",
    name: Annotated[str | None, typer.Option(help="Only this finding.")] = None,
    over: Annotated[bool, typer.Option("--over", help="Also what is over again.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if there is any.")] = False,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List findings, the latest first: what was wrong, about whom, what it led to."""
    from ledger.core.verdicts import SEVERITIES

    if severity not in SEVERITIES:
        allowed = ", ".join(SEVERITIES)
        raise typer.BadParameter(f"{severity!r} is not one of {allowed}", param_hint="--severity")
    how = form(as_json, as_csv)
    with catalog(place(context)) as opened:
        found = None if run is None else find_run(opened, run)
        asked = {"run": found, "name": name, "least": severity, "over": over, "most": limit}
        answer = opened.sql(FINDINGS, asked)
        if how is Form.TABLE:
            listed = [row[:9] for row in rows_of(answer)]
            rows(_FINDING_COLUMNS, listed, how, empty="no findings")
        else:
            rows(answer.column_names, rows_of(answer), how)
    if check and answer.num_rows:
        raise typer.Exit(1)


_FINDING_COLUMNS = [
    Column("at", when), Column("run", shorter), Column("severity", style=style), Column("finding"),
    Column("subject"), Column("level"), Column("effect"), Column("mode"), Column("reason"),
]  # fmt: skip
