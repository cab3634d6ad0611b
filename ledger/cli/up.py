"""`ledger up`: the judge in the foreground, with the archivist, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.examples import example
from ledger.cli.output import StatusLine, complain, say
from ledger.cli.place import place
from ledger.cli.text import count, plural
from ledger.cli.worker import MUTED, Muted, RefusedInRow, RefusedSources, Role, work
from ledger.errors import LedgerError
from ledger.settings import MuteLimits

if TYPE_CHECKING:
    from ledger.cli.archiving import Archiving
    from ledger.log.sqlite import SqliteLog

STATUS_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("ledger up", "ledger up --no-archive"))(up)


def up(
    context: typer.Context,
    no_archive: Annotated[
        bool, typer.Option("--no-archive", help="Judge only; archive nothing, trim nothing.")
    ] = False,
    refused_in_row_max: RefusedInRow = MUTED.in_row_max,
    muted_s: Muted = MUTED.muted_ms / 1_000,
    refused_sources_max: RefusedSources = MUTED.sources_max,
) -> None:
    """Judge in the foreground, and archive; the log is made if it is missing.

    Clients start a judge by themselves; this one stays, and archives too. Ctrl-C or SIGTERM ends
    it: what is judged is written down, what is recorded is archived. The archivist is a process of
    its own, which is started again when it dies. On Kafka this is `ledger worker all`, or
    `ledger worker judge` with --no-archive, which take their other settings from the variables.
    """
    where = place(context)
    mutes = MuteLimits(refused_in_row_max, round(muted_s * 1_000), refused_sources_max)
    if where.kafka:
        work(where, Role.JUDGE if no_archive else Role.ALL, mutes.variables())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with where.open_file(create=True) as log:
        archiving = None if no_archive else _archiving(log, where.archive)
        into = ", no archive" if no_archive else f", archive {where.archive}"
        say(f"ledger up: log {where.log}{into}")
        sys.stdout.flush()
        try:
            _judge(log, archiving, stop, mutes)
            if archiving is not None:
                archiving.end()
        finally:
            if archiving is not None:
                archiving.close()
        say(f"ledger up: ended, {plural(log.end() - 1, 'event')} recorded so far")


def _judge(
    log: SqliteLog, archiving: Archiving | None, stop: threading.Event, mutes: MuteLimits
) -> None:
    """Judge in a thread until `stop`; the status line is drawn here."""
    from ledger.judge import Judge
    from ledger.judge.__main__ import calm_collector
    from ledger.wire import reader

    reader()
    calm_collector()
    judge = Judge(log, trims=archiving is not None, say=complain, mutes=mutes)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            judge.run(stop)
        except BaseException as problem:
            failed.append(problem)
        stop.set()

    thread = threading.Thread(target=work, name="ledger-judge")
    thread.start()
    status = _Status(log)
    while not stop.wait(STATUS_S):
        if archiving is not None:
            archiving.look()
        try:
            status.draw(judge.epoch)
        except LedgerError:
            continue  # The judge meets the same, and says so.
    judge.stop()
    thread.join()
    status.line.clear()
    if failed:
        raise failed[0]


def _archiving(log: SqliteLog, location: str) -> Archiving:
    from ledger.cli.archiving import Archiving

    return Archiving(log.path, location, complain)


class _Status:
    """How much was recorded, judged and archived by now, in one line."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self._end, self._at_s = log.end(), time.monotonic()
        self.line = StatusLine()

    def draw(self, epoch: int) -> None:
        """Look, and show it."""
        end, now_s = self._log.end(), time.monotonic()
        rate = (end - self._end) / (now_s - self._at_s)
        self._end, self._at_s = end, now_s
        behind = end - self._log.judge().next_offset
        archived = self._log.meta("archived_offset")
        ahead = f", {count(end - archived)} not archived" if isinstance(archived, int) else ""
        role = f"judging (epoch {epoch})" if epoch else "standing by, another judges"
        self.line.draw(
            f"{role}: {count(end - 1)} events, {rate:,.0f}/s, {count(behind)} to judge{ahead}"
        )
