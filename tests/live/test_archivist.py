"""The archivist among real processes: killed between write and commit, killed anywhere, racing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable

from ledger.archive.archivist import Archivist
from ledger.archive.compact import compact, vacuum
from ledger.archive.rows import SCHEMA
from ledger.archive.verify import verify
from ledger.catalog import Catalog
from ledger.core.events import AgentStarted
from ledger.log.sqlite import SqliteLog
from ledger.wire import encode
from tests.waiting import wait_for

pytestmark = pytest.mark.live


def write_and_wait(path: str, where: str) -> None:
    """Write the next segment, say so, and never commit it."""
    with SqliteLog(path) as log:
        archivist = Archivist(log, where)
        assert archivist._segment("events") is not None
        print("written", flush=True)
        sys.stdin.read()


def drain_for_ever(path: str, where: str) -> None:
    """Archive in small commits until killed; after each, say how far."""
    with SqliteLog(path) as log:
        archivist = Archivist(log, where, segment_rows=40)
        while True:
            if archivist.step():
                print(archivist.positions()["events"], archivist.refused, flush=True)


def start(work: str, path: Path, where: Path) -> subprocess.Popen[str]:
    """A process that does `work` of this module."""
    code = f"import sys; from tests.live.test_archivist import {work}; {work}(*sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(where)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill(process: subprocess.Popen[str]) -> None:
    """Kill -9, and wait for the end."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def fill(log: SqliteLog, count: int) -> None:
    """Append so many events."""
    first = log.end()
    events = [
        AgentStarted(run=f"r{i % 9}", agent=f"a{first + i}", parent="root") for i in range(count)
    ]
    log.append([(event.run, encode(event)) for event in events])


def archived(where: Path) -> list[tuple[int, bytes]]:
    """(offset, bytes) of all events that the archive has, by offset."""
    rows = (
        DeltaTable(str(where)).to_pyarrow_dataset(schema=SCHEMA).to_table(["position", "payload"])
    )
    return sorted((row["position"], row["payload"].encode()) for row in rows.to_pylist())


def everything(log: SqliteLog) -> list[tuple[int, bytes]]:
    """The same of the log."""
    return [(row.offset, row.value) for row in log.read(0, 100_000)]


def test_killed_between_write_and_commit_nothing_is_twice_or_lost(tmp_path: Path) -> None:
    """Invariant 7: what was written is in no version; the next archivist writes it again."""
    path, where = tmp_path / "ledger.db", tmp_path / "archive"
    with SqliteLog(path) as log:
        fill(log, 500)
        process = start("write_and_wait", path, where)
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        kill(process)
        orphans = list(where.rglob("log=events/**/*.parquet"))

        assert len(orphans) == 1
        assert archived(where) == []
        assert Archivist(log, where).drain() == 500
        assert archived(where) == everything(log)
        assert verify(where).ok
        assert len(vacuum(where, after_hours=0)) == 1
        assert not orphans[0].exists()
        assert verify(where).ok


def test_killed_anywhere_again_and_again_everything_is_there_once(tmp_path: Path) -> None:
    """A crash has no favourite place: eight archivists are killed while the log grows."""
    path, where = tmp_path / "ledger.db", tmp_path / "archive"
    with SqliteLog(path) as log:
        for number in range(8):
            fill(log, 300)
            process = start("drain_for_ever", path, where)
            assert process.stdout is not None
            for _ in range(1 + number % 4):
                process.stdout.readline()
            kill(process)
            compact(where)
        Archivist(log, where).drain()

        assert archived(where) == everything(log)
        assert len(archived(where)) == 8 * 300
        assert verify(where).ok


def test_archivists_and_a_compaction_race_and_everything_is_there_once(tmp_path: Path) -> None:
    """Who archives is nobody's secret: two may believe that they do, while files are merged."""
    path, where = tmp_path / "ledger.db", tmp_path / "archive"
    with SqliteLog(path) as log:
        fill(log, 200)
        Archivist(log, where, segment_rows=40).drain()
        racers = [start("drain_for_ever", path, where) for _ in range(2)]
        try:
            with Catalog(where, log) as catalog:
                for _ in range(12):
                    fill(log, 200)
                    compact(where, files_min=4)
                    found = catalog.sql(
                        'select count(*) as n, max("offset") as last from events'
                    ).to_pylist()
                    assert found == [{"n": log.end() - 1, "last": log.end() - 1}]
            end = log.end()
            wait_for(lambda: log.meta("archived_offset") == end, 60, what="the archive to catch up")
        finally:
            for racer in racers:
                kill(racer)

        assert archived(where) == everything(log)
        assert verify(where).ok
