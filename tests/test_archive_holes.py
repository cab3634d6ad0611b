"""Holes in an archive of a log on Kafka: accepted ones are told, others are wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.archive.begin import BEGINS, begins, declare
from ledger.archive.chain import Hole, Link
from ledger.archive.committer import Committer
from ledger.archive.compact import ALL, compact
from ledger.archive.errors import ArchiveFailed, ArchiveGap
from ledger.archive.segment import Segment
from ledger.archive.table import Table
from ledger.archive.verify import verify
from ledger.log.kafka_lost import Lost
from tests.test_archive_segments import (
    LOG,
    PARTITIONS,
    Fetched,
    commit,
    events,
    linked,
    rewrite,
)

DISK = Lost(0, 3, 9)
WHY = DISK._replace(pos=1, reason=DISK.said("a disk"))


def acceptance(pos: int, loss: Lost = WHY, *, log: str = "events", reason: str = "") -> Fetched:
    """The record of the refused topic in which a loss is accepted."""
    headers = {
        "reason": reason or loss.reason, "topic": f"ledger-{log}",
        "partition": str(loss.partition), "offset": str(loss.first), "upto": str(loss.last),
    }  # fmt: skip
    return Fetched(
        pos, None, None, headers=[(name, said.encode()) for name, said in headers.items()]
    )


def with_hole(where: Path, *accepted: Lost) -> None:
    """Events 0 to 2, nothing up to 9, then 10 to 14 in two segments."""
    commit(where, "events", events([0, 1, 2]))
    committer = Committer(where, LOG, PARTITIONS)
    segment = committer.go_on(("events", 0), 10, accepted)
    segment.take(events([10, 11]))
    assert committer.commit([segment]) == [segment]
    commit(where, "events", events([12, 13, 14]))


def kinds(where: Path) -> list[str]:
    """What `verify` complains of."""
    return [problem.kind for problem in verify(where).problems]


def test_an_accepted_hole_is_proved_and_told(tmp_path: Path) -> None:
    """Also once its files are merged: the word for it is in the chain and in the refused log."""
    commit(tmp_path, "refused", [Fetched(0, b"k", b"junk"), acceptance(1)])
    with_hole(tmp_path, WHY)
    for _ in range(2):
        found = verify(tmp_path)
        (span,) = [one for one in found.spans if one.log == "events"]
        (accepted,) = found.accepted

        assert found.ok, found.problems
        assert (span.first, span.next, span.rows, span.lost, span.holes) == (0, 15, 8, 7, 0)
        assert (accepted.first, accepted.last, accepted.pos) == (3, 9, 1)
        assert accepted.reason == "range_lost: offsets 3 to 9 are accepted as lost: a disk"
        compact(tmp_path, files_min=ALL)


def test_what_nobody_accepted_is_not_stepped_over(tmp_path: Path) -> None:
    """Nor what is accepted where the archive does not have that yet: it could not prove it."""
    commit(tmp_path, "refused", [Fetched(0, b"k", b"junk")])
    commit(tmp_path, "events", events([0, 1, 2]))
    committer = Committer(tmp_path, LOG, PARTITIONS)
    parts = [[], [WHY], [DISK._replace(last=8, pos=0)], [DISK._replace(first=4, pos=0)]]
    for accepted in parts:
        with pytest.raises(ArchiveGap) as problem:
            committer.go_on(("events", 0), 10, accepted)

    assert "the archive needs events of partition 0 from 3, but the log begins at 10" in str(
        problem.value
    )
    assert "`ledger topics accept-loss 0 3 9 --reason ...`" in str(problem.value)
    with pytest.raises(ArchiveGap, match=r"accept-loss 2 0 4 --topic verdicts --reason"):
        committer.go_on(("verdicts", 2), 5, [])


@pytest.mark.parametrize(
    "other",
    [
        acceptance(1, reason="range_lost: offsets 3 to 9 are accepted as lost: a flood"),
        acceptance(1, log="verdicts"),
        acceptance(1, WHY._replace(partition=1)),
        acceptance(1, WHY._replace(first=4)),
        acceptance(2),
        Fetched(1, b"k", b"junk"),
    ],
)
def test_a_hole_needs_its_acceptance_in_the_archive(tmp_path: Path, other: Fetched) -> None:
    """Whoever cuts rows out of an archive would have to forge the chain of another log too."""
    commit(tmp_path, "refused", [Fetched(0, b"k", b"junk"), other])
    with_hole(tmp_path, WHY)

    assert kinds(tmp_path) == ["gap"]
    assert "refused 1 does not accept that" in verify(tmp_path).problems[0].text


def wider(link: Link) -> Link:
    """More is said to be lost."""
    assert link.hole is not None
    return link._replace(hole=link.hole._replace(next=11))


CHANGES: list[tuple[Callable[[Link], Link], set[str]]] = [
    (wider, {"digest", "gap"}),
    (lambda link: link._replace(hole=None), {"digest"}),
    (lambda link: link._replace(hole=Hole(10, ())), {"digest", "gap"}),
    (lambda link: link._replace(hole=Hole(10, (WHY._replace(last=8),))), {"digest", "gap"}),
    (lambda link: link._replace(hole=Hole(10, (WHY._replace(pos=0),))), {"digest", "gap"}),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_a_changed_hole_breaks_the_chain(
    tmp_path: Path, change: Callable[[Link], Link], expected: set[str]
) -> None:
    commit(tmp_path, "refused", [Fetched(0, b"k", b"junk"), acceptance(1)])
    with_hole(tmp_path, WHY)
    assert kinds(tmp_path) == []
    rewrite(tmp_path, lambda rows: linked(rows, change))

    assert set(kinds(tmp_path)) == expected


@pytest.mark.parametrize(
    "hole", [b"{", b"[1]", b'["x",[]]', b'[9,[[0,1,"2",3,"x"]]]', b"[9,[[0,1,2,3,4]]]"]
)
def test_a_link_that_cannot_be_read_matches_nothing(tmp_path: Path, hole: bytes) -> None:
    """Bytes in a file of somebody else's are an answer of `verify`, not a traceback."""
    assert Link.of(Link(b"x" * 32, None).pack() + b"0" * 16 + hole).bounds is None


def test_an_archive_may_begin_late_and_says_so(tmp_path: Path) -> None:
    """Declared once, for what is gone by then: whoever declares it again changes nothing."""
    table = Committer(tmp_path, LOG, PARTITIONS).table
    first = declare(table, {("events", 0): 10, ("events", 1): 0, ("control", 0): 7}, "all in s3")
    again = declare(Table.open(tmp_path), {("events", 0): 12, ("control", 0): 9}, "other")
    committer = Committer(tmp_path, LOG, PARTITIONS)
    segment = committer.go_on(("events", 0), 10, [])
    segment.take(events([11, 12]))
    assert committer.commit([segment]) == [segment]
    found = verify(tmp_path)

    assert (first, again) == ({("events", 0): 10, ("control", 0): 7}, {})
    assert found.ok, found.problems
    assert [one.reason for one in found.accepted] == ["the archive begins at 10: all in s3"]
    assert declare(committer.table, {("events", 0): 10}, "too late") == {}
    with pytest.raises(ArchiveGap, match=r"`ledger archive begin --reason ...`, or go on without"):
        committer.go_on(("control", 0), 8, [])


def test_a_beginning_that_was_never_declared_is_a_gap(tmp_path: Path) -> None:
    """The first rows cut out of an archive, and the chain forged from there on."""
    where = tmp_path / "archive"
    committer = Committer(where, LOG, PARTITIONS)
    declare(committer.table, {("events", 0): 9}, "all in s3")
    segment = Segment("events", 0, 0, Hole(10, (Lost(0, 0, 9, -1, "the archive begins at 10: x"),)))
    segment.take(events([10]))
    committer.commit([segment])

    assert kinds(where) == ["gap"]


def test_two_that_declare_at_once_agree(tmp_path: Path) -> None:
    """Both had loaded the table before either wrote."""
    ours, others = (Committer(tmp_path, LOG, PARTITIONS).table for _ in range(2))
    assert declare(ours, {("events", 0): 10}, "ours")
    begun = begins(ours)[("events", 0)]

    assert declare(others, {("events", 0): 12, ("events", 2): 3}, "others") == {("events", 2): 3}
    assert begins(others)[("events", 0)] == begun
    assert begins(others)[("events", 2)].last == 2
    assert Table.open(tmp_path).partitions == PARTITIONS


@pytest.mark.parametrize("said", ["{", "[]", '{"events/0": 3}', '{"events": [1, "x"]}'])
def test_a_property_of_somebody_else_is_a_sentence(tmp_path: Path, said: str) -> None:
    table = Committer(tmp_path, LOG, PARTITIONS).table
    table.delta.alter.set_table_properties({BEGINS: said}, raise_if_not_exists=False)

    with pytest.raises(ArchiveFailed, match=r"its property ledger.begins is .* remove it"):
        begins(Table.open(tmp_path))
