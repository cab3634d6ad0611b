"""Logs and archives to test with: filled, judged, in many files, and what they hold."""

from pathlib import Path

from deltalake import DeltaTable

from ledger.archive.archivist import Archivist
from ledger.archive.rows import SCHEMA
from ledger.core.events import AgentStarted
from ledger.core.verdicts import Verdict
from ledger.log.sqlite import SqliteLog
from ledger.wire import encode, encode_verdict


def fill(log: SqliteLog, count: int, *, runs: int = 5) -> None:
    """Append so many events of a few runs, and an unreadable one."""
    events = [AgentStarted(run=f"r{i % runs}", agent=f"a{i}", parent="root") for i in range(count)]
    log.append([(event.run, encode(event)) for event in events[1:]] + [("r0", b"\xff no event")])


def judge(log: SqliteLog, count: int) -> None:
    """Say something of the first `count` events."""
    epoch = log.take_judgeship("me", 1, 1000)
    assert epoch is not None
    verdicts = [(i, "r0", encode_verdict(Verdict(i, "r0"))) for i in range(1, count + 1)]
    assert log.commit_judged(epoch, log.end(), verdicts=verdicts, checkpoints={})


def contents(where: Path, log: str = "events") -> list[tuple[int, str, bytes]]:
    """(position, run, bytes) of a log as the archive has them, by position."""
    rows = DeltaTable(str(where)).to_pyarrow_dataset(schema=SCHEMA).to_table().to_pylist()
    return sorted(
        (
            row["position"],
            row["run"],
            row["raw"] if row["payload"] is None else row["payload"].encode(),
        )
        for row in rows
        if row["log"] == log
    )


def many_files(log: SqliteLog, where: Path, files: int = 20) -> None:
    """An archive of many small files."""
    archivist = Archivist(log, where)
    for _ in range(files):
        fill(log, 6)
        archivist.drain()
