"""Segments of a log on Kafka: what they make of records, and what verify proves of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ledger.archive.chain import Bounds, Link
from ledger.archive.committer import Committer
from ledger.archive.compact import ALL, compact
from ledger.archive.errors import WORDS_MAX, short
from ledger.archive.rows import SCHEMA, LogName
from ledger.archive.segment import Segment
from ledger.archive.table import Table
from ledger.archive.verify import verify
from ledger.catalog import Catalog
from ledger.core import policy
from ledger.core.events import AgentStarted, PolicyRecorded
from ledger.core.verdicts import Verdict
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_verdicts import ANNOUNCED, announcement
from ledger.wire import encode, encode_verdict

PARTITIONS = 4
LOG = "kafka-cluster-test"


class Fetched(NamedTuple):
    """A record, with the names that Kafka's client gives."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 1_000
    headers: Sequence[tuple[str, bytes | None]] = ()


def run_of(partition: int) -> str:
    """A run that lives in this partition."""
    names = (f"r{n}" for n in range(1_000))
    return next(name for name in names if partition_of(name.encode(), PARTITIONS) == partition)


def events(offsets: Sequence[int], partition: int = 0) -> list[Fetched]:
    """Events at these offsets."""
    run = run_of(partition)
    made = [AgentStarted(run=run, agent=f"a{at}", parent="root") for at in offsets]
    return [Fetched(at, run.encode(), encode(one)) for at, one in zip(offsets, made, strict=True)]


def said(offset: int, about: int, generation: int = 1) -> Fetched:
    """A verdict at this offset on the event `about`."""
    run = run_of(0)
    verdict = Verdict(about, run, decision="allow", generation=generation)
    return Fetched(offset, run.encode(), encode_verdict(verdict))


def heard(offset: int, generation: int) -> Fetched:
    """A judge announces itself."""
    return Fetched(offset, ANNOUNCED, announcement(generation, version=1))


def commit(where: Path, log: LogName, records: list[Fetched], *, partition: int = 0) -> int:
    """Commit records behind what is there, as an archivist that has just begun; how many."""
    committer = Committer(where, LOG, PARTITIONS)
    segment = Segment(log, partition, committer.next((log, partition)))
    segment.take(records)
    return sum(len(one.positions) for one in committer.commit([segment]))


def test_a_segment_takes_what_is_new(tmp_path: Path) -> None:
    """Kafka hands out again what was fetched before a rebalance."""
    segment = Segment("events", 0, 10)

    assert segment.take(events([8, 9])) == 0
    assert segment.take(events([8, 9, 10, 12])) == 2
    assert segment.take(events([10, 12, 13])) == 1
    assert (segment.positions, segment.first, segment.next) == ([10, 12, 13], 10, 14)


def test_an_event_of_another_partition_is_refused_and_a_policy_is_not(tmp_path: Path) -> None:
    """The judge of a partition does not fold it; neither may a replay."""
    stranger = run_of(1)
    default = policy.DEFAULT
    recorded = PolicyRecorded(run="policy", digest=default.digest, text=default.text)
    rows = [
        *events([0]),
        Fetched(1, stranger.encode(), encode(AgentStarted(run=stranger, agent="a", parent="b"))),
        Fetched(2, b"policy", encode(recorded)),
        Fetched(3, None, None),
    ]
    for partition in range(PARTITIONS):
        commit(tmp_path, "events", rows, partition=partition)
    with Catalog(tmp_path) as catalog:
        found = catalog.sql('select "offset", type, refused from events where "partition" = 0')

    first, second, third, fourth = sorted(found.to_pylist(), key=lambda row: row["offset"])
    assert (first["type"], first["refused"]) == ("agent_started", None)
    assert second["type"] is None
    assert "belongs to partition 1 of 4 (murmur2), not to 0" in second["refused"]
    assert (third["type"], third["refused"]) == ("policy_recorded", None)
    assert fourth["refused"] is not None


def test_which_verdicts_count_is_known_across_segments_and_compactions(tmp_path: Path) -> None:
    """Every archivist works it out from what the table holds, however the files were merged."""
    parts = [
        [heard(0, 1), said(1, 5), said(2, 6), said(3, 6)],
        [said(4, 5), said(5, 7)],
        [heard(6, 2), said(7, 8, generation=1)],
        [said(8, 8, generation=2), said(9, 7, generation=2)],
        [Fetched(10, b"x", b"no verdict"), heard(11, 1), said(12, 9, generation=1)],
        [said(13, 9, generation=2)],
    ]
    for number, part in enumerate(parts):
        assert commit(tmp_path, "verdicts", part) == len(part)
        if number in (2, 3):
            compact(tmp_path, files_min=ALL)
    with Catalog(tmp_path) as catalog:
        found = catalog.sql('select pos, "offset", generation from verdicts order by pos')

    rows = [tuple(row.values()) for row in found.to_pylist()]
    assert rows == [(1, 5, 1), (2, 6, 1), (5, 7, 1), (8, 8, 2), (13, 9, 2)]
    assert verify(tmp_path).ok


def test_a_refusal_that_was_written_twice_is_shown_once(tmp_path: Path) -> None:
    """A judge that takes over sends again what the one before may not have sent."""
    headers = [("reason", b"no JSON"), ("topic", b"t"), ("partition", b"3"), ("offset", b"7")]
    other = [("reason", b"no JSON"), ("topic", b"t"), ("partition", b"2"), ("offset", b"7")]
    rows = [
        Fetched(0, b"k", b"\xff", headers=headers),
        Fetched(1, b"k", b"\xff", headers=headers),
        Fetched(2, b"k", b"\xff", headers=other),
        Fetched(3, b"k", b"nobody knows"),
        Fetched(4, b"k", b"nobody knows", headers=[("offset", b"-"), ("partition", b"9" * 40)]),
        Fetched(5, b"k", b"nobody knows", headers=[("offset", None), ("reason", None)]),
    ]
    commit(tmp_path, "refused", rows)
    with Catalog(tmp_path) as catalog:
        found = catalog.sql('select pos, "offset", "partition", reason from refused order by pos')

    shown = [tuple(row.values()) for row in found.to_pylist()]
    assert shown == [
        (0, 7, 3, "no JSON"), (2, 7, 2, "no JSON"), (3, None, None, ""), (4, None, None, ""),
        (5, None, None, ""),
    ]  # fmt: skip


def test_a_header_without_a_value_stops_nobody(tmp_path: Path) -> None:
    """Anybody may write to the refused topic, and Kafka takes headers that are null."""
    names = ("reason", "topic", "partition", "offset")
    null = Fetched(0, b"k", b"junk", headers=[(name, None) for name in names])

    assert commit(tmp_path, "refused", [null]) == 1
    with Catalog(tmp_path) as catalog:
        (row,) = catalog.sql('select pos, "offset", "partition", reason from refused').to_pylist()
    assert tuple(row.values()) == (0, None, None, "")
    assert verify(tmp_path).ok


def test_who_comes_second_commits_nothing(tmp_path: Path) -> None:
    """Both believed that the partition was theirs; only what begins where the table is goes in."""
    ours, others = (Committer(tmp_path, LOG, PARTITIONS) for _ in range(2))
    made = [Segment("events", number, 0) for number in (0, 0, 1)]
    for segment in made:
        segment.take(events(range(5), segment.partition))

    assert ours.commit([made[0]]) == [made[0]]
    assert others.commit([made[1], made[2]]) == [made[2]]
    assert others.next(("events", 0)) == 5
    assert verify(tmp_path).ok


def rewrite(where: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace the middle one of three segments by a changed copy."""
    table = Table.open(where)
    middle = [file for file in table.files() if file.log == "events"][1]
    rows = pq.read_table(where / middle.path, partitioning=None)
    rows = rows.add_column(0, "log", pa.repeat("events", rows.num_rows))
    rows = rows.add_column(1, "partition", pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows))
    changed = change(rows.cast(SCHEMA))
    table.commit([table.write(changed)] if changed.num_rows else [], removed=[middle])


def linked(rows: pa.Table, change: Callable[[Link], Link]) -> pa.Table:
    """The segment's link changed."""
    chain = rows["chain"].to_pylist()
    chain[-1] = change(Link.of(chain[-1])).pack()
    return rows.set_column(rows.num_columns - 1, "chain", pa.array(chain, pa.binary()))


def widened(link: Link) -> Link:
    """It claims to hold more than it was handed."""
    assert link.bounds is not None
    return link._replace(bounds=Bounds(link.bounds.first - 2, link.bounds.next))


CHANGES: list[tuple[Any, str]] = [
    (lambda rows: rows.slice(0, 0), "gap"),
    (lambda rows: rows.slice(1), "digest"),
    (lambda rows: pa.concat_tables([rows.slice(0, 1), rows]), "duplicate"),
    (lambda rows: linked(rows, widened), "duplicate"),
    (lambda rows: linked(rows, widened), "digest"),
    (lambda rows: linked(rows, lambda link: Link(link.digest)), "digest"),
]


@pytest.mark.parametrize(("change", "kind"), CHANGES)
def test_verify_sees_tampering_where_positions_have_holes(
    tmp_path: Path, change: Any, kind: str
) -> None:
    """A hole of Kafka's and a row that somebody took look alike; the chain tells them apart."""
    for offsets in ([0, 1, 4], [6, 7, 9], [10, 13]):
        commit(tmp_path, "events", events(offsets))
    whole = verify(tmp_path)
    rewrite(tmp_path, change)

    assert whole.ok
    assert [(span.first, span.next, span.rows, span.holes) for span in whole.spans] == [
        (0, 14, 8, 6)
    ]
    assert kind in {problem.kind for problem in verify(tmp_path).problems}


def test_somebody_elses_error_is_one_short_line_without_colours() -> None:
    """Object stores draw trees in colour; logs and people want a sentence."""
    drawn = OSError(
        "\x1b[31m↳\x1b[0m error sending request\n  \x1b[1;31m↳\x1b[0m refused" + 999 * "x"
    )

    assert short(drawn).startswith("↳ error sending request ↳ refusedxxx")
    assert len(short(drawn)) == WORDS_MAX
