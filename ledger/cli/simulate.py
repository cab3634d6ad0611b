"""`ledger simulate`: scripted fleets, left alone and under the ledger, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.examples import example
from ledger.cli.output import Column, Csv, Form, Json, form, one_json, rows, say, say_marked
from ledger.cli.place import place
from ledger.cli.runs import style
from ledger.cli.text import count, duration, money

if TYPE_CHECKING:
    from ledger.core.policy import Policy
    from ledger.simulate import Comparison, SimulationReport

LABEL = "scripted: nobody's agents did this, nobody's money was spent"
SCENARIO = "fan_out_242"
FINDINGS_SHOWN = 6


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=example(
            "ledger simulate --list",
            "ledger simulate --scenario fan_out_242 --seed 4127",
            "ledger simulate --scenario wide_batch --policy policy.toml --json",
        )
    )(simulate)


def simulate(
    context: typer.Context,
    scenario: Annotated[str, typer.Option(help="Which; --list lists them.")] = SCENARIO,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run, bit for bit.")] = 1,
    lists: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    write: Annotated[
        Path | None,
        typer.Option(help="Write the watched run's events, one JSON a line.", metavar="FILE"),
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Run a scripted fleet with a clock of its own: left alone, then under a policy.

    The policy is what --policy names, or the default. The scenarios are healthy fleets, which no
    policy should disturb, and incidents that people really had, retold.
    """
    from ledger.simulate import compare

    how = form(as_json, as_csv)
    if lists:
        _list(how)
        return
    policy = place(context).load_policy()
    if write is not None:
        _write(write, scenario, seed, policy)
        return
    found = compare(scenario, seed, policy)
    if how is Form.JSON:
        one_json({"scripted": True, **found.to_dict()})
    elif how is Form.CSV:
        rows(["figure", "left_alone", "under_the_ledger"], _figures(found), how)
    else:
        _draw(found)


def _list(how: Form) -> None:
    from ledger.simulate import catalogue

    data = [
        (s.name, "incident" if s.sick else "healthy", s.line, ", ".join(s.speaks), s.incident)
        for s in catalogue()
    ]
    if how is Form.TABLE:
        say(LABEL)
    rows(["scenario", "kind", "what happens", "must be found", "retold from"], data, how)


def _draw(found: Comparison) -> None:
    from ledger.simulate.scenario import find

    alone = found.unwatched
    say_marked((alone.scenario, "bold"), f"  {find(alone.scenario).line}")
    say(f"{LABEL}; repeat it: {alone.command}")
    say()
    figures = [(name, *[_shown(name, value) for value in both]) for name, *both in _figures(found)]
    both = [Column("left alone", right=True), Column("under the ledger", right=True)]
    rows([Column(""), *both], figures, Form.TABLE)
    say()
    for finding in found.watched.findings[:FINDINGS_SHOWN]:
        say_marked(
            (f"{duration(finding.first_ms):>10}  ", "dim"),
            (f"{finding.severity} {finding.name}", style(finding.severity)),
            f"  {finding.reason}",
            f" → {finding.effect}" if finding.effect != "warn" else "",
        )
    more = len(found.watched.findings) - FINDINGS_SHOWN
    if more > 0:
        say(f"{'':>10}  and {more} more")
    for limit, times in found.watched.limits.items():
        say(f"{limit} refused {times:,} times")
    if not found.watched.findings:
        say("nothing wrong was found")


_ROWS = (
    "outcome", "agents_spawned", "spawns_refused", "calls_refused", "live_peak", "depth_peak",
    "tool_calls", "model_calls", "tokens", "microdollars", "microdollars_wasted", "duration_ms",
    "killed_at_ms",
)  # fmt: skip


def _figures(found: Comparison) -> list[tuple[str, Any, Any]]:
    return [(name, _of(found.unwatched, name), _of(found.watched, name)) for name in _ROWS]


def _of(report: SimulationReport, name: str) -> Any:
    return getattr(report, name)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "never"
    if name.startswith("microdollars"):
        return money(value)
    if name.endswith("_ms"):
        return duration(value)
    return count(value) if isinstance(value, int) else str(value)


def _write(path: Path, scenario: str, seed: int, policy: Policy) -> None:
    from ledger import wire
    from ledger.simulate import records

    number = 0
    with path.open("wb") as file:
        for record, _ in records(scenario, seed, policy):
            file.write(wire.encode(record.event) + b"\n")
            number += 1
    say(f"{number} events in {path}; {LABEL}")
