"""`ledger import FORMAT PATH…`: real traces of other people's agents into the log and archive.

What a newcomer would get wrong
    A run that is known (in the log, in the archive, or ended long ago) is left out as a whole
    before anything is written: importing twice adds nothing, and neither does a copy of a file.
    On Kafka judging and archiving are the workers' business: the import waits a while for the
    judges, and says so where they have not come. What is recorded is recorded either way.
    Two imports at once of the same file may both write a run; the judge hears the second one's
    events as repeats, which are silent, and no view counts them twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ledger.cli.asking import catalog, rows_of
from ledger.cli.examples import example
from ledger.cli.output import complain, console, on_terminal, one_json, say
from ledger.cli.place import Place, on_kafka, place
from ledger.cli.text import cut, plural
from ledger.core.events import PolicyRecorded, RunStarted

if TYPE_CHECKING:
    from ledger.cli.place import AnyLog
    from ledger.core.policy import Policy
    from ledger.importers import ImportedRun as Run
    from ledger.importers import Summary
    from ledger.log.kafka import KafkaLog
    from ledger.log.sqlite import SqliteLog

BATCH_EVENTS = 2_000
BATCH_BYTES = 4_000_000
"""A transaction ends with the first run that goes past one of these."""
BATCH_EVENTS_MAX = 40_000
BATCH_BYTES_MAX = 32_000_000
"""And in the middle of a run only here: the log takes no larger ones."""
SHOWN_MAX = 20
KNOWN = "run recorded before"
ASKED_AT_ONCE = 256
"""Runs held in memory while the catalog says which of them are recorded."""
PATIENCE_S = 120.0
"""How long a batch may be on its way to the brokers."""
JUDGES_S = 10.0
"""How long judges on Kafka may make no headway before we wait no longer."""
POLL_S = 0.1
RECORDED = "select run, count(*) from events where list_contains($runs, run) group by run"

Step = Callable[[str], object]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "import",
        epilog=example(
            "ledger import langfuse traces/",
            "ledger import chat who_and_when/ --json",
            "ledger import openai gpt-4o-airline.json",
        ),
    )(import_)


def import_(
    context: typer.Context,
    format: Annotated[str, typer.Argument(help="langfuse, chat or openai.")],
    paths: Annotated[
        list[Path], typer.Argument(help="Files, or folders to walk.", metavar="PATH...")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one object.")] = False,
) -> None:
    """Import traces as observed runs: judged, archived, and there to be asked about.

    What the source does not say is not invented; a span that fits no event is counted and named.
    Importing the same again adds nothing. Findings are made, orders are not: it is over. The
    policy is what --policy names, or the default. Exit 1 if a file was refused.
    """
    from ledger.importers import Summary, import_paths

    where = place(context)
    policy = where.load_policy()
    results = import_paths(format, paths)
    _exist(paths)
    summary = Summary()
    with where.open_log(create=True) as log, _progress(format) as step:
        _import(log, policy, _new(results, where, summary, step))
        step("judging and archiving")
        judged = _settle(log, where)
    if as_json:
        one_json(_as_dict(summary))
    else:
        _tell(summary)
    if not judged:
        complain("  not judged yet: `ledger worker` judges a log on Kafka")
    if summary.refusals:
        raise typer.Exit(1)


def _exist(paths: list[Path]) -> None:
    """Raises typer.BadParameter for a path that is not there: a typing error, not bad data."""
    for path in paths:
        if not path.exists():
            raise typer.BadParameter(f"there is no {path}", param_hint="PATH")


def _new(results: Iterable[Any], where: Place, summary: Summary, step: Step) -> Iterator[Run]:
    """The runs that are not recorded yet, wherever their events are by now; all is counted."""
    from ledger.importers import ImportedRun, SkippedFile

    left = iter(results)
    with catalog(where) as opened:
        while chunk := list(islice(left, ASKED_AT_ONCE)):
            ids = [result.run for result in chunk if isinstance(result, ImportedRun)]
            known = dict(rows_of(opened.sql(RECORDED, {"runs": ids})))
            for result in chunk:
                # Half a run (a huge one, and we were killed) is written again from its start.
                if isinstance(result, ImportedRun) and known.get(result.run, 0) >= len(
                    result.events
                ):
                    summary.add(SkippedFile(result.origin, KNOWN, result.run))
                    continue
                summary.add(result)
                if isinstance(result, ImportedRun):
                    step(f"{plural(summary.runs, 'run')}, {plural(summary.events, 'event')}")
                    yield result


def _import(log: AnyLog, policy: Policy, runs: Iterable[Run]) -> None:
    """Append the runs, several in a transaction; only a huge run takes more than one."""
    from ledger import wire

    batch: list[tuple[str, bytes]] = []
    size = 0
    for run in runs:
        if not batch:
            _record(log, policy)
        for event in run.events:
            value = wire.encode(_pinned(event, policy))
            batch.append((run.run, value))
            size += len(value)
            if len(batch) >= BATCH_EVENTS_MAX or size >= BATCH_BYTES_MAX:
                _append(log, batch)
                batch, size = [], 0
        if len(batch) >= BATCH_EVENTS or size >= BATCH_BYTES:
            _append(log, batch)
            batch, size = [], 0
    if batch:
        _append(log, batch)


def _append(log: AnyLog, batch: list[tuple[str, bytes]]) -> None:
    """Return once the batch is in the log. On Kafka one call may be too short for it."""
    from ledger.log import LogUnreachable

    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            log.append(batch)
            return
        except LogUnreachable:
            if time.monotonic() > until_s:
                raise


def _record(log: AnyLog, policy: Policy) -> None:
    from ledger import wire

    event = PolicyRecorded(run="policy", digest=policy.digest, text=policy.text)
    log.record_policy(policy.digest, policy.text, run="policy", value=wire.encode(event))


def _pinned(event: Any, policy: Policy) -> Any:
    """A start names the policy that its run is judged by."""
    if isinstance(event, RunStarted) and not event.policy:
        return event.model_copy(update={"policy": policy.digest})
    return event


def _settle(log: AnyLog, where: Place) -> bool:
    """Have everything judged, by us or by whoever judges, and archived; False: not in time."""
    fleet = on_kafka(log)
    if fleet is not None:
        return _judged(fleet)
    from ledger.archive.archivist import Archivist
    from ledger.cli.judging import judge_all

    file = cast("SqliteLog", log)
    judge_all(file)
    Archivist(file, where.archive).drain()
    return True


def _judged(log: KafkaLog) -> bool:
    """Wait until judges have written down that they judged all that is recorded by now.

    False where they make no headway for a while.
    """
    look = log.look()
    ends = {n: end for n, (_, end) in look.bounds("events", range(log.partitions)).items()}
    stood, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < JUDGES_S:
        judged = look.judged()
        if all(judged.get(number, 0) >= end for number, end in ends.items()):
            return True
        if (stands := sum(judged.values())) > stood:
            stood, since_s = stands, time.monotonic()
        time.sleep(POLL_S)
    return False


@contextmanager
def _progress(format: str) -> Iterator[Step]:
    """Something that moves on a terminal; silence anywhere else."""
    if not on_terminal():
        yield lambda text: None
        return
    with console(stderr=True).status(f"importing {format}") as status:
        yield lambda text: status.update(f"importing {format}: {text}")


def _as_dict(summary: Summary) -> dict[str, Any]:
    return {
        "runs": summary.runs,
        "agents": summary.agents,
        "events": summary.events,
        "refused": [
            {"file": one.origin, "place": one.place, "reason": one.reason}
            for one in summary.refused
        ],
        "refusals": summary.refusals,
        "skipped": dict(summary.skipped.most_common()),
    }


def _tell(summary: Summary) -> None:
    say(
        f"{plural(summary.runs, 'run')}, {plural(summary.agents, 'agent')}, "
        f"{plural(summary.events, 'event')} imported"
    )
    for reason, times in summary.skipped.most_common(SHOWN_MAX):
        say(f"  skipped {times:,}: {cut(reason, 120)}")
    if len(summary.skipped) > SHOWN_MAX:
        say(f"  skipped for {len(summary.skipped) - SHOWN_MAX} more reasons (--json has them)")
    for one in summary.refused[:SHOWN_MAX]:
        complain(f"  refused {one}")
    if summary.refusals > SHOWN_MAX:
        complain(f"  refused {summary.refusals - SHOWN_MAX:,} more (--json has them)")
