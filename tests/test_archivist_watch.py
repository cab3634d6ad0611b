"""What an archivist says of itself: how far it is behind, and when that is too far."""

import time
from pathlib import Path

from faust.types import TP

from ledger.archive.segment import Segment
from ledger.log.kafka_place import Place
from ledger.processors.archivist import Archivist
from ledger.processors.archivist_health import ArchivistHealth
from ledger.processors.archivist_watch import Watch
from ledger.topics import wanted

DAY_MS = 86_400_000


def behind(tmp_path: Path, ends: dict[TP, int]) -> Archivist:
    """One that has archived two partitions up to 100, records taken in at day 10."""
    topics = wanted("t", partitions=2)
    archivist = Archivist(Place("host:9092", "t", 2), str(tmp_path), topics)
    archivist.end = ends.get
    archivist.watch.only(set(ends))
    for tp in ends:
        archivist._held[tp] = Segment("events", tp.partition, 100)
        archivist._archived[tp] = 100, 10 * DAY_MS
    return archivist


def test_lag_counts_what_the_archive_lacks(tmp_path: Path) -> None:
    """What is gathered in memory is not archived."""
    ends = {TP("t-events", 0): 130, TP("t-events", 1): 100}
    archivist = behind(tmp_path, ends)

    assert archivist.lag() == 30
    assert archivist.held == dict.fromkeys(ends, 100)
    assert archivist.behind_ms(11 * DAY_MS) == DAY_MS


def test_an_archive_without_lag_is_not_behind(tmp_path: Path) -> None:
    """However long ago the last record came."""
    archivist = behind(tmp_path, {TP("t-events", 0): 100})

    assert (archivist.lag(), archivist.behind_ms(99 * DAY_MS)) == (0, 0)


def test_who_does_not_keep_up_says_so(tmp_path: Path) -> None:
    """Nothing is lost by it, but Kafka's disk fills: in figures, and once a minute at most."""
    archivist = behind(tmp_path, {TP("t-events", 0): 130})
    (problem,) = ArchivistHealth(archivist).problems()
    late, again = (archivist.watch.late(archivist.lag(), archivist.behind_ms()) for _ in range(2))

    assert problem.endswith(" minutes behind of 60")
    assert late.startswith("30 records are not archived, the oldest is up to ")
    assert "Kafka keeps them; start more archivists" in late
    assert again == ""


def test_a_little_behind_is_well(tmp_path: Path) -> None:
    """Commits come every two seconds, and a restart takes a minute."""
    archivist = behind(tmp_path, {TP("t-events", 0): 130})
    now_ms = time.time_ns() // 1_000_000
    archivist._archived = {tp: (at, now_ms - 60_000) for tp, (at, _) in archivist._archived.items()}

    assert ArchivistHealth(archivist).problems() == []
    assert archivist.watch.late(archivist.lag(), archivist.behind_ms()) == ""


def test_a_few_marks_of_transactions_are_not_behind(tmp_path: Path) -> None:
    """They are never delivered, however long one waits; records that were gathered are due."""
    archivist = behind(tmp_path, {(tp := TP("t-events", 0)): 103})
    assert archivist.behind_ms(11 * DAY_MS) == 0
    archivist._held[tp].positions.append(100)

    assert archivist.behind_ms(11 * DAY_MS) == DAY_MS


def test_what_was_given_and_is_not_held_is_named(tmp_path: Path) -> None:
    """Also while nothing is held at all: then nothing is behind either."""
    seconds = [0.0]
    watch = Watch(lambda: seconds[0])
    assert watch.problems([]) == ["it has not joined the group of archivists yet"]
    given = {TP("t-events", number) for number in range(5)}
    watch.only(given)
    watch.wait(given)
    watch.failed("no such bucket")
    assert watch.problems([]) == []
    seconds[0] = 20.0
    (problem,) = watch.problems([])
    assert problem == (
        "not archived for 20 s: t-events 0, t-events 1, t-events 2, and 2 more: no such bucket"
    )
    watch.forget([TP("t-events", number) for number in range(4)])
    assert watch.problems([TP("t-events", 4)]) == []
    assert watch.problems([]) == ["not archived for 20 s: t-events 4: no such bucket"]
    watch.only(set())

    assert watch.problems([]) == []


def test_commits_that_fail_are_told_though_partitions_are_held_between(tmp_path: Path) -> None:
    """A full disk can be read. One commit that lasts counts as well."""
    seconds = [0.0]
    watch = Watch(lambda: seconds[0])
    watch.only(given := {TP("t-events", 0)})
    for now_s in (0.0, 12.0, 31.0):
        seconds[0] = now_s
        watch.committing()
        watch.failed("No space left on device")
        watch.wait(given)
        watch.forget(given)
    assert watch.problems([]) == ["nothing was archived for 31 s: No space left on device"]
    watch.committed()

    assert watch.problems([]) == []
