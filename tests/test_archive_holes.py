"""Holes in an archive of a log on Kafka: accepted ones are told, others are wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.archive.chain import Hole, Link
from ledger.archive.committer import Committer
from ledger.archive.compact import ALL, compact
from ledger.archive.errors import ArchiveGap
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
