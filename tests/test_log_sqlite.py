"""The embedded log, one process: offsets, time, threads, orders, bells, upkeep."""

import threading
from pathlib import Path

import pytest

from ledger.log import BatchTooLarge, LogClosed
from ledger.log import sqlite_rows as rows
from ledger.log.sqlite import SqliteLog
from ledger.log.sqlite_queue import BATCH_ROWS_MAX
from ledger.log.sqlite_rows import Row
from tests.waiting import wait_for


def events(count: int, run: str = "run") -> list[tuple[str, bytes]]:
    return [(run, b"%d" % number) for number in range(count)]


def judge(log: SqliteLog) -> int:
    epoch = log.take_judgeship("judge", 1, 1_000)
    assert epoch is not None
    return epoch


def test_offsets_begin_at_one_and_have_no_gaps(log: SqliteLog) -> None:
    """Verdict ids, checkpoints and the archive count on it."""
    assert (log.end(), log.start()) == (1, 1)

    assert log.append(events(3)) == [1, 2, 3]
    assert log.append([]) == []
    assert log.append(events(2)) == [4, 5]
    assert [row.offset for row in log.read(0, 100)] == [1, 2, 3, 4, 5]
    assert log.end() == 6


@pytest.mark.parametrize("many", [1, 2, 3, 1023, 1024, 1025, 2500])
def test_many_rows_are_as_good_as_one_by_one(log: SqliteLog, many: int) -> None:
    """They go in by statements of up to 1,024 rows, filled up with rows that are left out."""
    log.append(events(2, "before"))
    batch = events(many)
    offsets = log.append(batch)
    verdicts = [(offset, "run", b"%d" % offset) for offset in offsets]
    assert log.commit_judged(judge(log), log.end(), verdicts=verdicts)

    assert offsets == list(range(3, 3 + many))
    kept = log.read(2, 9_999)
    assert [(row.offset, row.run, row.value) for row in kept] == [
        (offset, run, value) for offset, (run, value) in zip(offsets, batch, strict=True)
    ]
    assert [(row.offset, row.run, row.value) for row in log.verdicts(0, 9_999)] == verdicts
    assert log.append(events(1)) == [3 + many]


def test_what_went_in_comes_out(log: SqliteLog) -> None:
    """Any bytes and any names: the log does not look into them, and bad ones must not stop it."""
    batch = [
        ("run", b""),
        ("läuft\0\N{SNOWMAN}", bytes(range(256))),
        ("x" * 1000, b"{" * 1_000_000),
    ]
    log.append(batch)

    assert [(row.run, row.value) for row in log.read(0, 9)] == batch
    assert log.read_run("läuft\0\N{SNOWMAN}", 9)[0].offset == 2


def test_reading_is_bounded_and_goes_on_where_it_stopped(log: SqliteLog) -> None:
    """A reader that fell behind by a million events must not need them all at once."""
    log.append(events(10))
    first = log.read(0, 4)

    assert [row.offset for row in first] == [1, 2, 3, 4]
    assert [row.offset for row in log.read(first[-1].offset, 4)] == [5, 6, 7, 8]
    assert log.read(10, 4) == []


def test_append_time_never_goes_back(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines are counted on it, and wall clocks are set back by hand and by NTP."""
    log.append(events(1))
    before = log.read(0, 1)[0].append_ms
    monkeypatch.setattr(rows, "now_ms", lambda: before - 3_600_000)
    log.append(events(1))

    assert log.read(1, 1) == [Row(2, before, "run", b"0")]


@pytest.mark.parametrize(
    "bad", [("run", "text"), ("run", bytearray(b"x")), (b"run", b"x"), (1, b"")]
)
def test_the_wrong_type_is_refused_before_it_touches_the_log(
    log: SqliteLog, bad: tuple[str, bytes]
) -> None:
    """It would spoil the transaction that other threads' events share."""
    with pytest.raises(TypeError, match="expected"):
        log.append([("run", b"good"), bad])

    assert log.end() == 1


def test_too_large_a_batch_is_refused_whole(log: SqliteLog) -> None:
    """Everything has a limit: one append must not hold the lock for minutes."""
    with pytest.raises(BatchTooLarge, match="at most"):
        log.append(events(BATCH_ROWS_MAX + 1))

    assert log.end() == 1


def test_threads_share_transactions_and_keep_their_order(log: SqliteLog) -> None:
    """One wait for the disk serves all who wait; each still gets its own offsets."""
    offsets: dict[str, list[int]] = {}

    def work(name: str) -> None:
        offsets[name] = [o for n in range(20) for o in log.append([(name, b"%d" % n)])]

    threads = [threading.Thread(target=work, args=(f"run-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(o for mine in offsets.values() for o in mine) == list(range(1, 161))
    for name, mine in offsets.items():
        kept = log.read_run(name, 100)
        assert [(row.offset, row.value) for row in kept] == [
            (o, b"%d" % n) for n, o in enumerate(mine)
        ]


def test_an_order_is_in_the_log_and_the_control_table_and_on_the_latch(log: SqliteLog) -> None:
    """The latch is how an order reaches an agent between two calls, for 0.1 µs each."""
    seen = log.control_hint()
    offset = log.append_order("run", b"kill")

    assert log.control_hint() != seen
    assert log.read(offset - 1, 1)[0].value == b"kill"
    assert [(row.run, row.value) for row in log.control(0, 9)] == [("run", b"kill")]
    assert log.control_hint() == log.control_end() == 1


def test_a_latch_that_fell_behind_is_repaired_by_the_judge(log: SqliteLog, tmp_path: Path) -> None:
    """Who gave the order may die between commit and latch; the order is in the log."""
    log.append_order("run", b"kill")
    log._latch.show(0)
    log.tidy()

    assert log.control_hint() == 1


def test_a_policy_is_recorded_once(log: SqliteLog) -> None:
    """Every run names its policy; the log holds the text once, before the first run."""
    assert log.record_policy("d1", "text", run="run", value=b"policy") is True
    assert log.record_policy("d1", "text", run="run", value=b"policy") is False

    assert log.policy("d1") == "text"
    assert log.policy("d2") is None
    assert [row.value for row in log.read(0, 9)] == [b"policy"]


def test_what_is_no_event_is_kept_with_its_reason(log: SqliteLog) -> None:
    """Bad input stops nobody, and somebody wants to know whose it was."""
    assert log.refuse("source", "no JSON", b"\xff") == 1

    kept = log.refused(0, 9)
    assert [(row.offset, row.source, row.reason, row.value) for row in kept] == [
        (None, "source", "no JSON", b"\xff")
    ]


def test_waiters_are_rung_by_what_concerns_them(log: SqliteLog) -> None:
    """An append wakes the judge, a verdict its client, an order everybody."""
    epoch = judge(log)
    with log.bell("judge") as for_judge, log.bell("client", "a") as a, log.bell("client", "b") as b:
        log.append(events(1))
        assert (for_judge.wait(1), a.wait(0), b.wait(0)) == (True, False, False)

        log.commit_judged(epoch, 2, verdicts=[(1, "run", b"v")], wake=["b", "nobody"])
        assert (for_judge.wait(0), a.wait(0), b.wait(1)) == (False, False, True)

        log.commit_judged(epoch, 2, verdicts=[(2, "run", b"v")])
        assert (for_judge.wait(0), a.wait(1), b.wait(1)) == (False, True, True)

        log.append_order("run", b"kill")
        assert (for_judge.wait(1), a.wait(1), b.wait(1)) == (True, True, True)


def test_data_version_differs_once_somebody_wrote(log: SqliteLog, tmp_path: Path) -> None:
    """It is what polling looks at where there are no sockets."""
    before = log.data_version()
    assert log.data_version() == before
    with SqliteLog(tmp_path / "ledger.db") as other:
        other.append(events(1))

    assert log.data_version() != before


def test_meta_keeps_named_values(log: SqliteLog) -> None:
    """The archivist notes here how far it is."""
    log.set_meta("archived_offset", 7)
    log.set_meta("archived_offset", 8)

    assert log.meta("archived_offset") == 8
    assert log.meta("nothing") is None


def test_a_log_keeps_its_id(tmp_path: Path) -> None:
    """Verdict ids derive from it: two logs are never taken for one."""
    ids = []
    for name in ("a.db", "a.db", "b.db"):
        with SqliteLog(tmp_path / name) as log:
            ids.append(log.log_id)

    assert ids[0] == ids[1] != ids[2]


def test_a_closed_log_says_so(log: SqliteLog) -> None:
    """Closing twice is fine, using it is a mistake with a name."""
    log.close()
    log.close()

    with pytest.raises(LogClosed, match="open it again"):
        log.append(events(1))
    with pytest.raises(LogClosed):
        log.read(0, 1)


def test_the_wal_is_bounded_without_any_judge(tmp_path: Path) -> None:
    """Clients alone, for days: the log beside the file must not grow for ever."""
    path = tmp_path / "ledger.db"
    with SqliteLog(path) as log:
        log._file.wal_pages_max = 64
        for _ in range(60):
            log.append([("run", b"x" * 20_000)])
        wal = Path(f"{path}-wal").stat().st_size

    assert wal < 2 * 64 * 4_200


def test_tidy_empties_the_wal_while_others_read_and_write(tmp_path: Path) -> None:
    """The judge does it a few times a second, in the middle of everything."""
    path = tmp_path / "ledger.db"
    stop = threading.Event()
    with SqliteLog(path) as log, SqliteLog(path) as other:

        def write() -> None:
            while not stop.is_set():
                other.append([("run", b"x" * 5_000)])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(20):
                end = log.end() + 10
                wait_for(lambda end=end: log.end() >= end, what="ten events")  # type: ignore[misc]
                log.append(events(1))
                assert log.tidy(wal_pages=20)
        finally:
            stop.set()
            writer.join()

        assert [row.offset for row in log.read(0, 10_000)] == list(range(1, log.end()))
    assert path.stat().st_size > 200 * 5_000
