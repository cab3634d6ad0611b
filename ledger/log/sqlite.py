"""The log of one machine: a SQLite file that any number of processes append to and read at once.

What a newcomer would get wrong
    What `append` returned is on the disk: it survives `kill -9` and power loss.
    The log stamps the time, under the lock that gives the offset: time never goes back.
    Positions are exclusive: `read(after_offset=7)` begins at 8. The first offset is 1.
    Beside `ledger.db` there may be `-wal` and `-shm` (SQLite's), `-lock` (whose turn it is to
    write), `-latch` (says that an order came) and `-bells/` (who waits). All may be left over
    from a crash; all but `-wal` may be deleted while nobody uses the log.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import apsw

from ledger.closing import Closing
from ledger.log import sqlite_judge
from ledger.log import sqlite_rows as rows
from ledger.log.bell import Bell, ring
from ledger.log.latch import Latch
from ledger.log.sqlite_file import LogFile
from ledger.log.sqlite_judge import Judged, JudgeRow
from ledger.log.sqlite_queue import AppendQueue, checked
from ledger.log.sqlite_rows import (
    ControlRow,
    Refusal,
    RefusedRow,
    Row,
    VerdictRow,
    add_control,
    add_events,
    add_refused,
    last_key,
)

if TYPE_CHECKING:
    from ledger.core.state import Run

WAIT_S = 10.0
WAL_PAGES = 1024


class Checkpoints(NamedTuple):
    """The states as of `next_offset`; the verdicts after `verdict_pos` are yet to be applied."""

    next_offset: int
    verdict_pos: int
    states: dict[str, bytes]


class SqliteLog(Closing):
    """The log at `path`. With `create`, a file that is missing or empty becomes a log.

    A write waits for others at most `wait_s`, then it raises LogLocked.
    Raises LogMissing, LogForeign, LogCorrupt, LogLocked, LogFull, LogUnwritable, here and in
    every method. Threads may share it; a fork may use it on both sides.
    """

    def __init__(self, path: str | Path, *, create: bool = True, wait_s: float = WAIT_S) -> None:
        self.path = os.path.realpath(path)
        self._queue = AppendQueue(self.path)
        self._file = LogFile(self.path, make=create, wait_s=wait_s, on_fork=self._queue.forget)
        self._bells = f"{self.path}-bells"
        try:
            self.log_id = str(self.meta("log_id"))
            self._latch = Latch(f"{self.path}-latch")
            self._latch.show(self.control_end())
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the file. Twice is fine; a later use raises LogClosed."""
        self._file.close()

    # --- events ---

    def append(self, batch: Sequence[tuple[str, bytes]]) -> list[int]:
        """Put (run, value) pairs into the log, in order, all or none; their offsets, gapless.

        On return they are on the disk. Threads that append at once share a transaction.
        When it raises, nothing is acknowledged: send again. Raises BatchTooLarge.
        """
        if not batch:
            return []
        first = self._queue.append(self._file, batch)
        ring(self._bells, "judge")
        return list(range(first, first + len(batch)))

    def append_order(self, run: str, value: bytes) -> int:
        """Put an order into the log and into the control table; its offset. Everyone is woken."""
        checked(self.path, [(run, value)])

        def work(connection: apsw.Connection) -> tuple[int, int]:
            return add_events(connection, [(run, value)]), add_control(connection, [(run, value)])

        offset, _ = self._file.write(work, then=lambda done: self._latch.show(done[1]))
        ring(self._bells)
        return offset

    def record_policy(self, digest: str, text: str, *, run: str, value: bytes) -> bool:
        """Keep a policy's text, and append `value` (its event, of `run`) if new; True then."""
        checked(self.path, [(run, value)])

        def work(connection: apsw.Connection) -> bool:
            connection.execute("INSERT OR IGNORE INTO policies VALUES (?, ?)", (digest, text))
            if not connection.changes():
                return False
            add_events(connection, [(run, value)])
            return True

        if self.policy(digest) is not None or not self._file.write(work):
            return False
        ring(self._bells, "judge")
        return True

    def read(self, after_offset: int, limit: int) -> list[Row]:
        """At most `limit` events after `after_offset`, in order."""
        return self._file.read(lambda c: rows.events(c, after_offset, limit))

    def parts(self) -> list[SqliteLog]:
        """All partitions: a file is one."""
        return [self]

    def part_of(self, run: str) -> SqliteLog:
        """The partition that this run lives in."""
        return self

    def read_run(self, run: str, limit: int, *, after_offset: int = 0) -> list[Row]:
        """At most `limit` events of one run, in order. Scans: 0.3 s a million events."""
        return self._file.read(lambda c: rows.events_of(c, run, after_offset, limit))

    def end(self) -> int:
        """The offset that the next event gets; 1 in an empty log."""
        return self._file.read(lambda connection: last_key(connection, "events")) + 1

    def start(self) -> int:
        """The lowest offset still here; `end()` in an empty log."""
        found = self._file.read(lambda c: c.execute("SELECT min(offset) FROM events").get)
        return found or self.end()

    def policy(self, digest: str) -> str | None:
        """The text of a recorded policy."""
        sql = "SELECT text FROM policies WHERE digest = ?"
        found: str | None = self._file.read(lambda c: c.execute(sql, (digest,)).get)
        return found

    # --- verdicts, orders, refusals ---

    def verdicts(self, after_pos: int, limit: int, run: str | None = None) -> list[VerdictRow]:
        """At most `limit` verdicts after `after_pos`, of one run or of all, in order."""
        return self._file.read(lambda c: rows.verdicts(c, after_pos, limit, run))

    def verdicts_end(self) -> int:
        """The position of the last verdict, 0 before the first."""
        return self._file.read(lambda connection: last_key(connection, "verdicts"))

    def control(self, after_pos: int, limit: int) -> list[ControlRow]:
        """At most `limit` orders after `after_pos`, in order."""
        return self._file.read(lambda c: rows.control(c, after_pos, limit))

    def control_end(self) -> int:
        """The position of the last order, 0 before the first."""
        return self._file.read(lambda connection: last_key(connection, "control"))

    def control_hint(self) -> int:
        """`control_end()` out of shared memory, 0.1 µs; late only if a process died just there."""
        return self._latch.value()

    def refuse(self, source: str, reason: str, value: bytes, *, offset: int | None = None) -> int:
        """Keep bytes that are no event, with the reason; their position in the refused log."""
        one = Refusal(offset, source, reason, value)
        return self._file.write(lambda connection: add_refused(connection, [one]))

    def refused(self, after_pos: int, limit: int) -> list[RefusedRow]:
        """At most `limit` refusals after `after_pos`, in order."""
        return self._file.read(lambda c: rows.refused(c, after_pos, limit))

    def follow(self, run: str) -> None:
        """Nothing: who reads the file reads all runs."""

    def still_follow(self, runs: Iterable[str]) -> None:
        """Nothing, likewise."""

    # --- the judge ---

    def run_as_judged(self, run: str) -> Run | None:
        """The run as of the judge's last commit; restores all. None: it knows no such run."""
        from ledger.judge.restore import restore

        memory, _ = restore(self, lambda: None, lambda words: None)
        return memory.state.runs.get(run)

    def judge(self) -> JudgeRow:
        """Who judges, and how far."""
        return self._file.read(sqlite_judge.judge_row)

    def take_judgeship(self, holder: str, version: int, stale_ms: int) -> int | None:
        """Become the judge: the new epoch, or None while another's heartbeat is fresh.

        Fresh is younger than `stale_ms` on the clock since boot. Raises JudgeTooOld where a
        higher deciding version has judged.
        """
        if not holder:
            raise ValueError("holder must name the judge; got an empty string")
        return self._file.write(
            lambda connection: sqlite_judge.take(connection, holder, version, stale_ms)
        )

    def heartbeat(self, epoch: int) -> bool:
        """Say that the judge of `epoch` lives; False when another judges now."""
        # Not synced: after a power cut no judge lives anyway.
        return self._file.write(lambda c: sqlite_judge.beat(c, epoch), durable=False, alone=True)

    def resign(self, epoch: int) -> bool:
        """End the judgeship at once; False when another judges already."""
        return self._file.write(lambda c: sqlite_judge.resign(c, epoch), durable=False)

    def commit_judged(
        self,
        epoch: int,
        next_offset: int,
        *,
        verdicts: Sequence[tuple[int, str, bytes]] = (),
        checkpoints: Mapping[str, bytes | None] | None = None,
        refused: Sequence[Refusal] = (),
        controls: Sequence[tuple[str, bytes]] = (),
        ticks: Sequence[tuple[str, bytes]] = (),
        wake: Iterable[str] | None = None,
    ) -> bool:
        """Write what was judged below `next_offset`, all of it, or False when another judges now.

        `verdicts` are (offset, run, value), `controls` and `ticks` (run, value); ticks become
        events. A mapping of `checkpoints`, also an empty one, says that with it the states of
        all runs stand at `next_offset`; None in it ends a run. `wake` names the sources whose
        waiters are rung (None: all); controls wake everybody.

        What is published here is synced first: a client acts on it, and a judge of another
        version might not decide it again after a power cut. Without it (offset, checkpoints)
        nothing is lost that folding does not bring back, and the disk is spared.
        """
        judged = Judged(next_offset, verdicts, checkpoints)
        last_control = 0

        def work(connection: apsw.Connection) -> bool:
            nonlocal last_control
            if not sqlite_judge.commit(connection, epoch, judged):
                return False
            if refused:
                add_refused(connection, refused)
            if ticks:
                add_events(connection, ticks)
            if controls:
                last_control = add_control(connection, controls)
            return True

        def then(done: bool) -> None:
            if done and last_control:
                self._latch.show(last_control)

        published = bool(verdicts or refused or controls or ticks)
        if not self._file.write(work, durable=published, then=then):
            return False
        self._wake(bool(verdicts), bool(controls), wake)
        return True

    def load_checkpoints(self) -> Checkpoints:
        """The states, and the place where they stand. One consistent view."""

        def work(connection: apsw.Connection) -> Checkpoints:
            with connection:
                offset, pos = connection.execute("SELECT marker_offset, marker_pos FROM judge").get
                states = dict(connection.execute("SELECT run, state FROM checkpoints"))
            return Checkpoints(offset, pos, states)

        return self._file.read(work)

    def trim(self, below_offset: int, below_verdict_pos: int, below_refused_pos: int = 0) -> int:
        """Delete what is archived (below the three) and checkpointed; how many rows went.

        In steps, so that writers get in between. The newest event always stays: it carries
        the clock. Of orders the newest 10,000 stay.
        """
        bounds = (below_offset, below_verdict_pos, below_refused_pos)
        total = 0
        while went := self._file.write(lambda c: rows.trim(c, *bounds), durable=False):
            total += went
        return total

    # --- who is there ---

    def register_holder(self, source: str, pid: int | None = None) -> None:
        """Say that this process (or `pid`, of this machine) is behind `source`."""
        number = os.getpid() if pid is None else pid
        self._file.write(lambda c: sqlite_judge.register(c, source, number))

    def forget_holders(self, sources: Iterable[str]) -> None:
        """Take these sources off the list."""
        gone = [(source,) for source in sources]
        sql = "DELETE FROM holders WHERE source = ?"
        self._file.write(lambda connection: connection.executemany(sql, gone), durable=False)

    def holders(self) -> list[str]:
        """The sources on the list, alive or lost."""
        sql = "SELECT source FROM holders ORDER BY source"
        return self._file.read(lambda c: [source for (source,) in c.execute(sql)])

    def lost_holders(self) -> list[str]:
        """The sources whose process is proved gone (number, start and boot are compared)."""
        return self._file.read(sqlite_judge.lost)

    # --- waking ---

    def bell(self, kind: str, source: str = "") -> Bell:
        """Something to wait on: kind `judge` is rung by appends, `client` by verdicts."""
        return Bell(self._bells, kind, source, changed=self.data_version)

    def ring(self, kind: str = "", source: str | None = None) -> int:
        """Wake waiters: all, those of a kind, or one source of a kind. Returns how many."""
        return ring(self._bells, kind, source)

    def data_version(self) -> int:
        """A number that differs once anybody has written to the log; compare within one object."""
        return int(self._file.read(lambda c: c.execute("PRAGMA data_version").get))

    # --- upkeep ---

    def tidy(self, wal_pages: int = WAL_PAGES) -> bool:
        """The judge's chore, a few times a second: empty a WAL of more than `wal_pages` (4 KiB
        each), repair the latch.

        The latch is behind when somebody died right after an order's commit. True if the
        WAL was emptied.
        """
        end = self.control_end()
        if self._latch.value() < end:
            self._file.write(lambda c: last_key(c, "control"), durable=False, then=self._latch.show)
            ring(self._bells)
        return self._file.empty_wal(wal_pages)

    def meta(self, key: str) -> str | int | None:
        """A named value of the log's own, as `set_meta` kept it."""
        sql = "SELECT value FROM meta WHERE key = ?"
        found: str | int | None = self._file.read(lambda c: c.execute(sql, (key,)).get)
        return found

    def set_meta(self, key: str, value: str | int) -> None:
        """Keep a named value, such as how far the archive is."""
        sql = "INSERT INTO meta VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value"
        self._file.write(lambda connection: connection.execute(sql, (key, value)))

    def _wake(self, verdicts: bool, controls: bool, wake: Iterable[str] | None) -> None:
        if controls:
            ring(self._bells)
        elif verdicts and wake is None:
            ring(self._bells, "client")
        elif verdicts and wake is not None:
            for source in wake:
                ring(self._bells, "client", source)
