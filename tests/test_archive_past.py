"""The archive gives back what a log on Kafka had: each record, in order, and says what it lacks."""

from pathlib import Path

import pytest

from ledger.archive import past
from ledger.archive.chain import Bounds, Link
from ledger.archive.compact import ALL, compact
from ledger.archive.errors import ArchiveForeign
from ledger.archive.past import Archived, Past
from ledger.archive.rows import LogName
from ledger.core.events import AgentStarted
from ledger.wire import encode
from tests.test_archive_segments import (
    LOG,
    Fetched,
    commit,
    events,
    heard,
    linked,
    rewrite,
    run_of,
    said,
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch is many windows, and a window many lists."""
    monkeypatch.setattr(past, "WINDOW", 7)
    monkeypatch.setattr(past, "RECORDS_MAX", 3)


def read(where: Path, log: LogName, at: int, until: int) -> list[Archived]:
    """All of a stretch, as somebody reads it who takes a partition over."""
    archive, found = Past(where, LOG), []
    while at < until:
        records, at = archive.some(log, f"ledger-{log}", 0, at, until)
        assert len(records) <= 3
        found += records
    return found


def test_records_come_back_as_they_were_in_their_order(tmp_path: Path) -> None:
    """Compaction sorts them by run, and what it leaves alone lies between."""
    names = [run_of(0), "another", "third"]
    rows = [
        Fetched(at, run.encode(), encode(AgentStarted(run=run, agent=f"a{at}", parent="p")), at)
        for at, run in ((at, names[at % 3]) for at in [*range(20), 33, *range(60, 80)])
    ]
    rows.insert(7, Fetched(20, b"\xff", b"\xfe no text", 5))
    rows.sort()
    for begin in range(0, len(rows), 6):
        commit(tmp_path, "events", rows[begin : begin + 6])
        if begin == 24:
            compact(tmp_path, files_min=ALL)

    found = read(tmp_path, "events", 5, 75)

    assert [row.offset for row in found] == [row.offset for row in rows if 5 <= row.offset < 75]
    for ours, there in zip(found, [row for row in rows if 5 <= row.offset < 75], strict=True):
        assert (ours.timestamp, ours.value) == (there.timestamp, there.value)
        assert there.key in (ours.key, b"\xff")


def test_an_announcement_is_one_again_and_a_key_that_is_none_is_not(tmp_path: Path) -> None:
    """Both have no run. Which verdicts count hangs on telling them apart."""
    rows = [heard(0, 1), said(1, 5), Fetched(2, None, b"{}"), heard(3, 2), said(4, 6)]
    commit(tmp_path, "verdicts", rows)

    assert [row.key for row in read(tmp_path, "verdicts", 0, 5)] == [row.key for row in rows]
    assert Past(tmp_path, LOG).announcements(0) == [rows[0].value, rows[3].value]


def test_what_is_missing_is_known_by_what_was_archived_not_by_rows(tmp_path: Path) -> None:
    """Marks of transactions use up offsets; a range that was lost does not look otherwise."""
    commit(tmp_path, "events", events([0, 1, 5, 9]))
    commit(tmp_path, "events", events([20, 21]))
    whole = Past(tmp_path, LOG)

    assert whole.missing("events", 0, 0, 22) == []
    assert whole.missing("events", 0, 3, 8) == []
    assert whole.missing("events", 0, 3, 30) == [(22, 29)]
    assert whole.missing("events", 1, 0, 4) == [(0, 3)]
    assert whole.missing("verdicts", 0, 5, 6) == [(5, 5)]

    rewrite(tmp_path, lambda rows: linked(rows, lost_before))
    holed = Past(tmp_path, LOG)
    assert holed.missing("events", 0, 0, 30) == [(10, 13), (22, 29)]
    assert holed.missing("events", 0, 12, 13) == [(12, 12)]


def lost_before(link: Link) -> Link:
    """As if the first four offsets of a segment had been lost."""
    assert link.bounds is not None
    return link._replace(bounds=Bounds(link.bounds.first + 4, link.bounds.next))


def test_the_archive_of_another_log_is_none_of_ours(tmp_path: Path) -> None:
    """Its offsets mean other events."""
    commit(tmp_path, "events", events([0]))

    with pytest.raises(ArchiveForeign, match="not this log"):
        Past(tmp_path, "kafka-cluster-other")
