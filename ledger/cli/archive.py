"""`ledger archive`: how far the archive is, whether it is whole, and making it small and sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.examples import example
from ledger.cli.output import Csv, Form, Json, complain, form, one_json, rows, say
from ledger.cli.place import Place, place
from ledger.cli.text import plural

if TYPE_CHECKING:
    from ledger.archive.table import Table

app = typer.Typer(
    name="archive",
    help="Show how far the archive is, prove it whole, compact it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.add_typer(app)


@app.command(epilog=example("ledger archive status", "ledger archive status --json"))
def status(context: typer.Context, as_json: Json = False, as_csv: Csv = False) -> None:
    """Show what is archived of each log, and what only the log holds yet."""
    from ledger.archive.table import Table

    how = form(as_json, as_csv)
    where = place(context)
    table = Table.open(where.archive)
    files = table.files()
    ends = _ends(where, table)
    data = []
    for name, number in table.places():
        mine = [file for file in files if (file.log, file.partition) == (name, number)]
        archived_below = table.next_position(name, number) or table.first
        end = ends.get((name, number))
        ahead = None if end is None else end - archived_below
        size = sum(file.bytes for file in mine)
        data.append((name, number, archived_below, ahead, len(mine), size))
    if how is Form.TABLE:
        say(f"{table.location}, version {table.version}, of log {table.log_id}")
    rows(["log", "partition", "archived_below", "not_archived", "files", "bytes"], data, how)


@app.command(epilog=example("ledger archive verify", "ledger archive verify --json"))
def verify(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one object.")] = False,
) -> None:
    """Prove that the archive is whole: exit 1 for a gap, a duplicate or a broken digest.

    Everything is read and every digest is computed again. What a log on Kafka had lost before it
    was archived is no gap where a person accepted that (`ledger topics accept-loss`); it is shown.
    """
    from dataclasses import asdict

    from ledger.archive.verify import verify as prove

    found = prove(place(context).archive)
    if as_json:
        one_json({"ok": found.ok, **asdict(found)})
    else:
        for span in found.spans:
            marks = f", {plural(span.holes, 'hole')} of transactions" if span.holes else ""
            gone = f", {plural(span.lost, 'record')} lost" if span.lost else ""
            say(
                f"{_named(span.log, span.partition)}: {span.first} to {span.next - 1}, "
                f"{plural(span.rows, 'row')} in {plural(span.segments, 'segment')}{marks}{gone}, "
                f"digest {span.digest[:16] or '(none)'}"
            )
        for one in found.accepted:
            say(f"{_named(one.log, one.partition)} {one.first}: {one.reason}")
        for problem in found.problems:
            name = _named(problem.log, problem.partition)
            complain(f"{name} {problem.position}: {problem.kind}: {problem.text}")
        if found.problems_more:
            complain(f"and {plural(found.problems_more, 'problem')} more")
        say("whole" if found.ok else "NOT WHOLE")
    if not found.ok:
        raise typer.Exit(1)


@app.command(epilog=example("ledger archive compact"))
def compact(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Merge whatever can be merged, not only full classes.")
    ] = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Then delete files that nobody needs (after a week).")
    ] = False,
) -> None:
    """Merge small files into larger ones sorted by run, so that one run is a quick look-up.

    Safe while the archive is written and read. No row changes: `verify` proves the same digest.
    """
    from ledger.archive import compact as compaction

    where = place(context).archive
    files_min = compaction.ALL if everything else compaction.FILES_MIN
    done = compaction.compact(where, files_min=files_min)
    say(
        f"files {done.files_before} → {done.files_after}, bytes {done.bytes_before:,} → "
        f"{done.bytes_after:,}, {plural(done.rows, 'row')} rewritten"
    )
    if vacuum:
        say(f"{plural(len(compaction.vacuum(where)), 'file')} deleted")


@app.command(epilog=example("ledger archive now"))
def now(context: typer.Context) -> None:
    """Archive what the log holds, once; `ledger up` does it all the time.

    On Kafka `ledger worker archivist` does; both at once are safe.
    """
    where = place(context)
    if where.kafka:
        from ledger.archive.drain import drain

        with where.open_kafka() as fleet:
            archived = drain(fleet, where.archive)
    else:
        from ledger.archive.archivist import Archivist

        with where.open_file() as log:
            archived = Archivist(log, where.archive).drain()
    say(f"{plural(archived, 'record')} archived in {where.archive}")


@app.command(epilog=example("ledger archive begin --reason 'older records are in s3://old/ledger'"))
def begin(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why; `verify` shows it.")],
) -> None:
    """Declare that this archive begins where its log on Kafka begins now; make it if need be.

    A new archive of a log of which Kafka has deleted the beginning would lack that without a
    word, so archivists wait for this one. It concerns the partitions of which nothing is archived
    yet, and what is gone of them by now, nothing later. What judges need is another matter:
    `ledger topics accept-loss`.
    """
    from ledger.archive.begin import declare
    from ledger.archive.drain import bounds_of
    from ledger.archive.table import Table

    where = place(context)
    with where.open_kafka() as fleet:
        look = fleet.look()
        table = Table.open_or_create(where.archive, look.log_id(), partitions=fleet.partitions)
        bounds = bounds_of(look, table.places())
    new = declare(table, {at: first for at, (first, _) in bounds.items()}, reason)
    for (log, number), first in new.items():
        say(f"{_named(log, number)} begins at {first} in {table.location}")
    if not new:
        say(f"{table.location} has the beginning of each partition, or says why not")


def _named(log: str, partition: int) -> str:
    """A log, with its partition where there is more than the first."""
    return f"{log}-{partition}" if partition else log


def _ends(where: Place, table: Table) -> dict[tuple[str, int], int]:
    """The next position of each log and partition, where there is a log to ask."""
    if where.kafka:
        from ledger.archive.drain import bounds_of

        with where.open_kafka() as fleet:
            return {at: end for at, (_, end) in bounds_of(fleet.look(), table.places()).items()}
    if not where.log.exists():
        return {}
    with where.open_file() as log:
        return {("events", 0): log.end(), ("verdicts", 0): log.verdicts_end() + 1}
