"""The archive on one machine: exactly once, provable, and still provable after every upkeep."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from ledger.archive.archivist import META, Archivist
from ledger.archive.compact import ALL, compact, vacuum
from ledger.archive.errors import (
    ArchiveFailed,
    ArchiveForeign,
    ArchiveGap,
    ArchiveMissing,
    LogRewound,
)
from ledger.archive.rows import SCHEMA
from ledger.archive.table import Behind, Table
from ledger.archive.verify import verify
from ledger.log.sqlite import SqliteLog
from tests.archives import contents, fill, judge, many_files


def test_every_record_is_archived_as_it_was(log: SqliteLog, where: Path) -> None:
    """Invariant 7 for all three logs, unreadable bytes included."""
    fill(log, 30)
    judge(log, 20)
    log.refuse("stranger", "no JSON", b"\x00\xff", offset=None)
    archivist = Archivist(log, where, segment_rows=7)

    assert archivist.drain() == 30 + 20 + 1
    assert contents(where) == [(r.offset, r.run, r.value) for r in log.read(0, 100)]
    assert contents(where, "verdicts") == [(r.pos, r.run, r.value) for r in log.verdicts(0, 100)]
    assert contents(where, "refused") == [(1, "", b"\x00\xff")]
    assert verify(where).ok
    assert archivist.drain() == 0


def test_the_log_hears_what_it_may_trim(log: SqliteLog, where: Path) -> None:
    """Trimmed before archived is lost; archived and never trimmed fills the disk."""
    fill(log, 10)
    judge(log, 10)
    archivist = Archivist(log, where)
    assert archivist.waiting() == 10
    archivist.drain()

    assert archivist.waiting() == 0
    assert log.meta(META["events"]) == log.end() == archivist.positions()["events"]
    assert log.meta(META["verdicts"]) == log.verdicts_end() + 1


def test_of_two_archivists_that_believe_it_is_their_turn_one_is_refused(
    log: SqliteLog, where: Path
) -> None:
    """The interleaving that would archive everything twice: both loaded, both wrote."""
    fill(log, 10)
    first, second = Archivist(log, where), Archivist(log, where)
    ours, theirs = first._segment("events"), second._segment("events")
    assert ours is not None
    assert theirs is not None
    first.table.commit([ours[0]], positions={("events", 0): 11}, facts=[ours[1]])

    with pytest.raises(Behind):
        second.table.commit([theirs[0]], positions={("events", 0): 11}, facts=[theirs[1]])
    fill(log, 5)
    assert second.drain() == 5
    assert [position for position, _, _ in contents(where)] == list(range(1, 16))
    assert verify(where).ok


def test_what_a_killed_archivist_wrote_is_in_no_version_and_vacuum_takes_it(
    log: SqliteLog, where: Path
) -> None:
    """Written but not committed is not archived; its file must not stay for ever."""
    fill(log, 10)
    killed = Archivist(log, where)
    assert killed._segment("events") is not None
    assert contents(where) == []

    Archivist(log, where).drain()
    gone = vacuum(where, after_hours=0)

    assert len(gone) == 1
    assert verify(where).ok
    assert len(contents(where)) == 10


def test_records_trimmed_too_early_are_an_error_and_not_a_silent_hole(
    log: SqliteLog, where: Path
) -> None:
    """An archive begun late, or put back from a copy, must not pretend to be whole."""
    fill(log, 10)
    judge(log, 10)
    Archivist(log, where).drain()
    log.trim(8, 8)

    with pytest.raises(ArchiveGap, match=r"begins at 8: 7 records were trimmed"):
        Archivist(log, where.with_name("late")).drain()


def test_an_archive_takes_one_log_only(log: SqliteLog, where: Path, tmp_path: Path) -> None:
    """A deleted and re-made ledger.db starts at offset 1 again: another log, another history."""
    fill(log, 3)
    Archivist(log, where).drain()

    with (
        SqliteLog(tmp_path / "other.db") as other,
        pytest.raises(ArchiveForeign, match="holds log"),
    ):
        Archivist(other, where)


def test_a_log_put_back_from_an_older_copy_is_noticed(tmp_path: Path, where: Path) -> None:
    """Its offsets are used a second time for other events; the archive would mix two histories."""
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with SqliteLog(path) as log:
        fill(log, 5)
        log.tidy()
    copy.write_bytes(path.read_bytes())
    for leftover in tmp_path.glob("a.db-wal"):
        copy.with_name("copy.db-wal").write_bytes(leftover.read_bytes())
    with SqliteLog(path) as log:
        fill(log, 3)
        Archivist(log, where).drain()
    with SqliteLog(copy) as log:
        with pytest.raises(LogRewound, match="events 8"):
            Archivist(log, where)
        fill(log, 9)
        with pytest.raises(LogRewound, match="older copy"):
            Archivist(log, where)


def test_where_no_archive_can_be_the_error_says_so(log: SqliteLog, tmp_path: Path) -> None:
    """A wrong path is the commonest mistake."""
    with pytest.raises(ArchiveMissing, match="nowhere"):
        verify(tmp_path / "nowhere")
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(ArchiveFailed):
        Archivist(log, tmp_path / "file" / "archive")


def test_a_location_may_be_a_file_url(log: SqliteLog, where: Path) -> None:
    """Object stores are named by URL, so a local archive may be too."""
    fill(log, 4)
    Archivist(log, f"file://{where}").drain()

    assert len(contents(where)) == 4
    assert verify(f"file://{where}").ok


@pytest.mark.parametrize("left", [b"", b"\0" * 700, b'{"commitInfo":{"timest'])
def test_a_commit_that_a_power_cut_tore_is_done_again(
    log: SqliteLog, where: Path, left: bytes
) -> None:
    """Its name reached the disk and its content did not; the log still has the rows."""
    many_files(log, where, 3)
    newest = sorted((where / "_delta_log").glob("*.json"))[-1]
    newest.write_bytes(left)

    assert Archivist(log, where).drain() == 6
    assert verify(where).ok
    assert contents(where) == [(r.offset, r.run, r.value) for r in log.read(0, 100)]


def test_a_checkpoint_that_a_power_cut_tore_is_not_needed(log: SqliteLog, where: Path) -> None:
    """A checkpoint only repeats the commits; without this a torn one shuts the whole archive."""
    many_files(log, where, 2)
    DeltaTable(str(where)).create_checkpoint()
    (checkpoint,) = (where / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    fill(log, 6)

    assert Archivist(log, where).drain() == 6
    assert verify(where).ok


# --- upkeep -------------------------------------------------------------------------------------


def test_compaction_changes_no_row_and_keeps_the_proof(log: SqliteLog, where: Path) -> None:
    """Invariant 7 holds after upkeep, and the archivist goes on behind it."""
    many_files(log, where)
    before = contents(where)
    done = compact(where)

    assert done.files_before == 20
    assert done.files_after < 10
    assert contents(where) == before
    assert verify(where).ok
    assert len(vacuum(where, after_hours=0)) >= 16
    fill(log, 6)
    assert Archivist(log, where).drain() == 6
    assert verify(where).ok
    assert len(contents(where)) == len(before) + 6


def test_compacted_files_are_sorted_by_run_with_a_bloom_filter(log: SqliteLog, where: Path) -> None:
    """One run among millions is a point look-up only if files can be skipped."""
    many_files(log, where)
    compact(where, files_min=ALL)
    files = Table.open(where).files()
    parquet = pq.ParquetFile(where / files[0].path)
    runs = parquet.read(columns=["run"])["run"].to_pylist()

    assert len(files) == 1
    assert runs == sorted(runs)


def test_a_row_is_rewritten_few_times_in_its_life(log: SqliteLog, where: Path) -> None:
    """Compaction that rewrites all each time costs the square of the archive."""
    archivist = Archivist(log, where)
    rewritten = 0
    for _ in range(64):
        fill(log, 4)
        archivist.drain()
        rewritten += compact(where).rows

    assert rewritten <= 64 * 4 * 3
    assert len(Table.open(where).files()) < 24


def test_an_archivist_and_a_compaction_at_once_lose_nothing(log: SqliteLog, where: Path) -> None:
    """Upkeep runs while the fleet does."""
    many_files(log, where, 9)
    late, compacting = Archivist(log, where), Table.open(where)
    fill(log, 5)
    compact(compacting)

    assert late.drain() == 5
    assert verify(where).ok


def test_of_two_compactions_at_once_one_stops(log: SqliteLog, where: Path) -> None:
    """Both would replace the same files; every row would be there twice."""
    many_files(log, where, 9)
    first, second = Table.open(where), Table.open(where)
    files = second.files()
    compact(first, files_min=ALL)
    stale = second.write(pa.Table.from_batches(
        [batch for file in files for batch in second.read(file, SCHEMA.names[2:])]
    ).add_column(0, "log", pa.repeat("events", 54)).add_column(
        1, "partition", pa.repeat(pa.scalar(0, pa.int32()), 54)
    ), final=True)  # fmt: skip

    with pytest.raises(Behind):
        second.commit([stale], removed=files)
    assert verify(where).ok


def test_the_proof_outlives_the_table_s_own_history(log: SqliteLog, where: Path) -> None:
    """Delta cleans old commits away; the chain of digests is in the rows."""
    many_files(log, where)
    table = DeltaTable(str(where))
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
    table.create_checkpoint()
    table.cleanup_metadata()
    for entry in sorted((where / "_delta_log").glob("*.json"))[:-1]:
        entry.unlink()

    assert len(DeltaTable(str(where)).history()) < 3
    assert verify(where).ok
    fill(log, 6)
    assert Archivist(log, where).drain() == 6
    assert verify(where).ok
