"""One term of a judge: from winning the judgeship to losing it or giving it up.

What a newcomer would get wrong
    The order matters: fold, commit what was said in one transaction that names our epoch, and
    only then wake those who wait. Who lost the epoch has said nothing to anybody.
    A batch of which nothing is to be said needs no commit of its own: folding brings it back.
    A commit that finds no room is tried again as it is; what was folded is not folded twice.
    An event that makes the fold fail is a bug of ours: it is refused, and the others go on.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from threading import Event as Flag

from ledger.core.events import Event, HolderLost, OrderGiven, Record, Ticked
from ledger.core.lifecycle import refused
from ledger.core.verdicts import RuleOrder, Verdict
from ledger.judge.checkpoint import Checkpointer
from ledger.judge.chores import Chores
from ledger.judge.muting import Muting, source_of
from ledger.judge.records import record_of
from ledger.judge.restore import restore
from ledger.log import LogFull, LogLocked
from ledger.log.sqlite import SqliteLog
from ledger.log.sqlite_rows import Refusal, Row
from ledger.settings import MuteLimits
from ledger.wire import UnreadableEvent, encode, encode_verdict

SOURCE = "judge"
"""The source of the events that a judge writes: ticks, and what the dead cannot say."""
BATCH_ROWS = (64, 1_000)
"""Rows of the first batch, and of one when much is waiting."""
BATCH_BYTES = 4 * 1024 * 1024
"""Where events are large, a batch holds about so much."""
SILENT_S = 0.05
"""How long a place in the log may go unwritten when nothing was said."""
FAILING_MAX = 100
"""So many events may make the fold fail before the judge itself gives up."""
REASON_MAX = 2_048
REFUSED_BYTES_MAX = 65_536
"""Of bytes that are no event so much is copied; the whole is at its offset."""
TICKS_LATE_S = 1.0
"""Ticks wait until all is read, so that no event is missed that moved the deadline; so long."""
_BACKOFF_S = (0.05, 1.0)


class Deposed(Exception):
    """Another judges now: forget everything."""


class Said:
    """What one batch led to, to be committed at once; `wake` None wakes every client."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self.verdicts: list[tuple[int, str, bytes]] = []
        self.refused: list[Refusal] = []
        self.controls: list[tuple[str, bytes]] = []
        self.events: list[tuple[str, bytes]] = []
        self.wake: set[str] | None = set()

    def __bool__(self) -> bool:
        return bool(self.verdicts or self.refused or self.controls or self.events)

    def verdict(self, event: Event, verdict: Verdict) -> None:
        """Take in the verdict on `event`; orders that a rule gave go to every client."""
        verdict.generation = self._epoch
        self.verdicts.append((verdict.offset, verdict.run, encode_verdict(verdict)))
        self.controls += [(verdict.run, _order(verdict, order)) for order in verdict.orders]
        if verdict.findings or verdict.quiet or verdict.recalls:
            self.wake = None
        elif self.wake is not None:
            self.wake.add(event.source)

    def refuse(self, row: Row, reason: str, muting: Muting) -> None:
        """Take in a row that is no event."""
        source = source_of(row.value, row.run)
        heed = muting.refused(source, row.append_ms)
        if heed.copied:
            self.refused.append(Refusal(row.offset, source, reason, row.value[:REFUSED_BYTES_MAX]))
        if heed.finding:
            self.refused.append(Refusal(row.offset, source, heed.finding, b""))

    def good(self, record: Record, muting: Muting) -> None:
        """Take in that a source that was refused lately has sent an event."""
        event = record.event
        if again := muting.good(event.source, f"key {event.run}"):
            self.refused.append(Refusal(record.offset, event.source, again, b""))

    def event(self, event: Event) -> None:
        """Take in an event that the judge itself appends."""
        self.events.append((event.run, encode(event)))


class Term:
    """Judging under `epoch`: `step` again and again, until it raises Deposed; then `close`.

    `failing` (offset to reason) outlives the term: records that made the fold fail.
    """

    def __init__(
        self,
        log: SqliteLog,
        epoch: int,
        *,
        say: Callable[[str], object],
        stop: Flag,
        failing: dict[int, str],
        mutes: MuteLimits,
    ) -> None:
        self.log, self.epoch = log, epoch
        self.judged = 0
        self.heard_s = time.monotonic()
        self._say, self._stop, self._failing = say, stop, failing
        self._muting = Muting(mutes)
        self.chores = Chores(log.path, epoch)
        self._most = BATCH_ROWS[0]
        self._committed = self._committed_s = 0.0
        try:
            self._restore()
        except BaseException:
            self.chores.close()
            raise

    def _restore(self) -> None:
        self.memory, marker = restore(self.log, self.chores.pulse, self._say)
        self.checkpointer = Checkpointer(self.memory, marker)
        self.chores.kept = marker
        self._committed = self.memory.next_offset
        self._committed_s = self._ticked_s = time.monotonic()

    def step(self) -> int:
        """Judge what is there, at most one batch; how many rows that was. Raises Deposed."""
        self.chores.pulse()
        if self.chores.deposed.is_set():
            raise Deposed
        if self.chores.problem is not None:
            raise self.chores.problem
        rows = self.log.read(self.memory.next_offset - 1, self._most)
        said = Said(self.epoch)
        lost: list[str] = []
        try:
            if rows:
                self._fold(rows, said)
        except _FoldFailed as failed:
            self._start_over(failed)
            return len(rows)
        now_s = time.monotonic()
        if len(rows) < self._most or now_s - self._ticked_s > TICKS_LATE_S:
            lost = self._own_events(said)
            self._ticked_s = now_s
        silent = self.memory.next_offset > self._committed
        if said or (silent and now_s - self._committed_s >= SILENT_S):
            self._commit(said)
        if lost:
            self.chores.forget(lost)
        if self.checkpointer.due():
            self._checkpoint()
        self._most = _next_most(self._most, rows)
        return len(rows)

    def wait_s(self) -> float:
        """How long nothing needs to be done if nothing is appended."""
        waits = [self.chores.EVERY_S]
        if self.memory.next_offset > self._committed:
            waits.append(self._committed_s + SILENT_S - time.monotonic())
        due_ms = self.memory.deadlines.next_ms()
        if due_ms:
            waits.append(due_ms / 1000 - time.time())
        return max(0.001, min(waits))

    def settle(self) -> None:
        """Write everything down and give up the judgeship, so that the next one starts at once."""
        if self.memory.next_offset > self._committed:
            self._commit(Said(self.epoch))
        self._checkpoint()
        while self.checkpointer.busy:
            self._checkpoint()
        self.log.resign(self.epoch)

    def close(self) -> None:
        """End the chores."""
        self.chores.close()

    # --- fold ---

    def _fold(self, rows: list[Row], said: Said) -> None:
        memory, failing, heard = self.memory, self._failing, False
        for row in rows:
            try:
                record = record_of(row)
            except UnreadableEvent as problem:
                said.refuse(row, problem.reason, self._muting)
                continue
            if row.offset in failing:
                verdict: Verdict | None = self._failed(record)
                memory.apply(record, verdict)
            else:
                try:
                    verdict = memory.judge(record)
                except Exception as problem:
                    raise _FoldFailed(row.offset, problem) from problem
            if verdict is not None:
                said.verdict(record.event, verdict)
            heard = heard or record.event.source != SOURCE
            if self._muting.bad:
                said.good(record, self._muting)
        if heard or said.refused:
            self.heard_s = time.monotonic()
        memory.advance(rows[-1].offset + 1, rows[-1].append_ms)
        self.judged += len(rows)

    def _start_over(self, failed: _FoldFailed) -> None:
        """The state may be half changed: bring it back, and refuse the record this time."""
        if len(self._failing) >= FAILING_MAX:
            raise failed
        self._failing[failed.offset] = failed.reason
        self._say(f"the event at offset {failed.offset} is refused: {failed.reason}")
        self._restore()

    def _failed(self, record: Record) -> Verdict:
        reason = f"the judge failed on it: {self._failing[record.offset]}"[:REASON_MAX]
        return refused(self.memory.state, record, reason)

    def _own_events(self, said: Said) -> list[str]:
        """Ticks that are due, and the loss of processes that have ended; the sources of these."""
        for run in self.memory.due(time.time_ns() // 1_000_000):
            said.event(Ticked(run=run, source=SOURCE))
        lost, seen_offset = self.chores.lost
        if not lost or self.memory.next_offset < seen_offset:
            return []
        for run, source in self.memory.involving(frozenset(lost)):
            said.event(HolderLost(run=run, source=SOURCE, holder=source, reason="it has ended"))
        return lost

    # --- commit ---

    def _commit(self, said: Said) -> None:
        self._write(
            lambda: self.log.commit_judged(
                self.epoch,
                self.memory.next_offset,
                verdicts=said.verdicts,
                refused=said.refused,
                controls=said.controls,
                ticks=said.events,
                wake=said.wake,
            )
        )

    def _checkpoint(self) -> None:
        began_s = time.monotonic()
        self.checkpointer.begin(self.log.verdicts_end())
        rows = self.checkpointer.slice()
        self._write(
            lambda: self.log.commit_judged(self.epoch, self.memory.next_offset, checkpoints=rows)
        )
        self.checkpointer.written(rows, time.monotonic() - began_s)
        self.chores.kept = self.checkpointer.marker

    def _write(self, write: Callable[[], bool]) -> None:
        """Write, as often as it takes. Raises Deposed, and what trying again cannot help."""
        nap_s, longest_s = _BACKOFF_S
        while True:
            try:
                if not write():
                    raise Deposed
                break
            except (LogFull, LogLocked) as problem:
                self._say(f"trying again: {problem}")
                if self._stop.wait(nap_s):
                    raise
                nap_s = min(2 * nap_s, longest_s)
                self.chores.pulse()
        self._committed = self.memory.next_offset
        self._committed_s = time.monotonic()


def _next_most(most: int, rows: list[Row]) -> int:
    """Twice as many rows where all came that were asked for, fewer where they are large."""
    least, limit = BATCH_ROWS
    size = sum([len(row.value) for row in rows])
    if size > BATCH_BYTES:
        return max(1, len(rows) * BATCH_BYTES // size)
    return min(2 * most, limit) if len(rows) == most else max(least, min(most, 2 * len(rows)))


class _FoldFailed(Exception):
    """The fold raised what it never should."""

    def __init__(self, offset: int, problem: Exception) -> None:
        at = traceback.extract_tb(problem.__traceback__)[-1]
        where = f"{at.filename.rpartition('/')[2]}:{at.lineno}"
        self.offset = offset
        self.reason = f"{type(problem).__name__} {problem} ({where})"
        super().__init__(offset, self.reason)


def _order(verdict: Verdict, order: RuleOrder) -> bytes:
    """An order by a rule as every client reads orders."""
    given = OrderGiven(
        run=verdict.run,
        agent=order.agent,
        source=SOURCE,
        at_ms=verdict.at_ms,
        order=order.order,
        action=order.action,
        scope=order.scope,
        reason=order.reason[:REASON_MAX],
        by=SOURCE,
    )
    return encode(given)
