"""`ledger replay`: fold again what was recorded, and compare with what was said then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.asking import catalog, find_run, rows_of
from ledger.cli.examples import example
from ledger.cli.output import complain, one_json, say
from ledger.cli.place import Place, place

if TYPE_CHECKING:
    from ledger.catalog import Catalog
    from ledger.replay import Difference, ReplayReport

PARTITIONS = """
select distinct "partition" from events where $run is null or run = $run order by all
"""
EVENTS = """
select "offset", append_ms, case when refused is null then payload else '' end from events
where payload is not null and "partition" = $partition
  and ($run is null or run in ($run, 'policy')) order by "offset"
"""
"""What was refused is there as a text that is no event: it is counted, and not folded."""
VERDICTS = """
select "offset", payload from verdicts
where "partition" = $partition and ($run is null or run in ($run, 'policy'))
order by "offset", pos
"""
LOST = """
with said as (
    select *, regexp_extract(reason, '^range_lost: offsets \\d+ to (\\d+) ', 1) as upto
    from refused)
select "offset", try_cast(upto as bigint) from said
where "partition" = $partition and starts_with(reason, 'range_lost: ') and ends_with(source, $topic)
"""
"""The records of a topic that a person accepted as lost: first and last position there."""
UNHEARD = """
select max("offset") filter (pos < $first) + 1, min("offset") filter (pos > $last) - 1
from verdicts where "partition" = $partition
"""
"""The events on which there may have been verdicts that are lost."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", epilog=example("ledger replay last", "ledger replay --all --json"))(
        replay_
    )


def replay_(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Argument(help="A run, or how its id begins; `last`: the latest.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run.")] = False,
    other_versions: Annotated[
        bool, typer.Option("--other-versions", help="Compare also what other versions decided.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one object.")] = False,
) -> None:
    """Fold again what was recorded, and compare each verdict with the one that was published.

    Exit 1 with the first that differs. What another version decided is applied, and counted.
    """
    from ledger.replay import facts

    if (run is None) != everything:
        raise typer.BadParameter("name a run, or say --all", param_hint="RUN")
    where = place(context)
    with catalog(where) as opened:
        found = None if run is None else find_run(opened, run)
        report = replay_run(opened, where, found, compare_all=other_versions)
    if as_json:
        one_json(facts(report))
    else:
        say(str(report))
        if report.first is not None:
            _complain(report.first)
    if not report.equal:
        raise typer.Exit(1)


def replay_run(
    opened: Catalog, where: Place, run: str | None, *, compare_all: bool = False
) -> ReplayReport:
    """Replay one run, or all (None), as far as it is judged; each partition by itself."""
    from ledger.replay import ReplayReport, replay

    until = _judged_until(where)
    report = ReplayReport()
    for (partition,) in rows_of(opened.sql(PARTITIONS, {"run": run})):
        asked = {"run": run, "partition": partition}
        report.add(
            replay(
                _encoded(opened.sql(EVENTS, asked)),
                _encoded(opened.sql(VERDICTS, asked)),
                run=run or "",
                partition=partition,
                compare_all=compare_all,
                judged_until=until,
                lost=_lost(opened, partition, "events"),
                unheard=_unheard(opened, partition),
            )
        )
    return report


def _lost(opened: Catalog, partition: int, log: str) -> list[tuple[int, int]]:
    asked = {"partition": partition, "topic": f"-{log}"}
    found = rows_of(opened.sql(LOST, asked))
    return [(first, last) for first, last in found if last is not None]


def _unheard(opened: Catalog, partition: int) -> Iterator[tuple[int, int]]:
    for first, last in _lost(opened, partition, "verdicts"):
        asked = {"partition": partition, "first": first, "last": last}
        for begin, end in rows_of(opened.sql(UNHEARD, asked)):
            if end is not None:  # Behind the last verdict nothing is judged yet.
                yield begin or 0, end


def _encoded(answer: Any) -> Iterator[Any]:
    """Rows whose last column becomes bytes again."""
    for row in rows_of(answer):
        yield (*row[:-1], row[-1].encode())


def _judged_until(where: Place) -> int | None:
    """The first offset that the judge has not looked at; None where only the archive is there.

    Judges on Kafka write it down once a second; their verdicts say it sooner.
    """
    if where.kafka or not where.log.exists():
        return None
    with where.open_file() as log:
        return log.judge().next_offset


def _complain(first: Difference) -> None:
    from ledger import wire

    for name, verdict in (("then", first.recorded), ("now", first.ours)):
        said = wire.encode_verdict(verdict).decode() if verdict is not None else "nothing"
        complain(f"  {name:<5}{said}")
