"""What an archivist says of itself: how far it is behind, and when that is too far."""

import time
from pathlib import Path

from faust.types import TP

from ledger.archive.segment import Segment
from ledger.log.kafka_place import Place
from ledger.processors.archivist import Archivist
from ledger.processors.archivist_health import ArchivistHealth
from ledger.topics import wanted

DAY_MS = 86_400_000


def behind(tmp_path: Path, ends: dict[TP, int], said: list[str]) -> Archivist:
    """One that has archived two partitions up to 100, records taken in at day 10."""
    topics = wanted("t", partitions=2)
    archivist = Archivist(Place("host:9092", "t", 2), str(tmp_path), topics, say=said.append)
    archivist.end = ends.get
    for tp in ends:
        archivist._held[tp] = Segment("events", tp.partition, 100)
        archivist._archived[tp] = 100, 10 * DAY_MS
    return archivist


def test_lag_counts_what_the_archive_lacks(tmp_path: Path) -> None:
    """What is gathered in memory is not archived."""
    ends = {TP("t-events", 0): 130, TP("t-events", 1): 100}
    archivist = behind(tmp_path, ends, [])

    assert archivist.lag() == 30
    assert archivist.held == dict.fromkeys(ends, 100)
    assert archivist.behind_ms(11 * DAY_MS) == DAY_MS


def test_an_archive_without_lag_is_not_behind(tmp_path: Path) -> None:
    """However long ago the last record came."""
    archivist = behind(tmp_path, {TP("t-events", 0): 100}, [])

    assert (archivist.lag(), archivist.behind_ms(99 * DAY_MS)) == (0, 0)


def test_who_does_not_keep_up_says_so(tmp_path: Path) -> None:
    """Nothing is lost by it, but Kafka's disk fills: in figures, and once a minute at most."""
    said: list[str] = []
    archivist = behind(tmp_path, {TP("t-events", 0): 130}, said)
    (problem,) = ArchivistHealth(archivist).problems()
    archivist._warn()
    archivist._warn()

    assert problem.endswith(" minutes behind of 60")
    assert len(said) == 1
    assert said[0].startswith("30 records are not archived, the oldest is up to ")
    assert "Kafka keeps them; start more archivists" in said[0]


def test_a_little_behind_is_well(tmp_path: Path) -> None:
    """Commits come every two seconds, and a restart takes a minute."""
    said: list[str] = []
    archivist = behind(tmp_path, {TP("t-events", 0): 130}, said)
    now_ms = time.time_ns() // 1_000_000
    archivist._archived = {tp: (at, now_ms - 60_000) for tp, (at, _) in archivist._archived.items()}
    archivist._warn()

    assert ArchivistHealth(archivist).problems() == said == []
