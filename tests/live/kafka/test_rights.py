"""Users who may not do everything: each is told what it lacks, and goes on once it has it."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

import ledger
from ledger.log import LogUnreachable
from tests.cli.calling import ledger as command
from tests.live.kafka import rights
from tests.live.kafka.doors import Doors
from tests.live.kafka.test_secured import WAIT, recorded
from tests.live.kafka.workers import UP_S, free_port, metric, working
from tests.waiting import wait_for


def without(doors: Doors, user: str, right: str, name: str) -> tuple[str, rights.Right, str]:
    """A new log on which the user has all the rights of the page but this: its URL for the user,
    the right, and what is said of who lacks it."""
    url, _, _ = doors.opened("SCRAM-SHA-512")
    prefix = urlsplit(url).path[1:]
    assert command("--log", url, "topics", "apply").code == 0
    given = [one for one in rights.on_the_page(prefix) if one.user == user]
    (missing,) = [one for one in given if one[1:] == (right, one.kind, f"{prefix}-{name}")]
    rights.give(doors, *(one for one in given if one != missing))
    why = f"user '{user}' lacks a right to {missing.kind} {missing.name.rstrip('*')}"
    return url.replace(doors.user(), doors.user(user)), missing, why


def test_who_has_no_right_is_not_told_that_topics_are_missing(doors: Doors) -> None:
    """That is what a broker lets it look like, whether they are there or not."""
    root, _, _ = doors.opened("SCRAM-SHA-512")
    url, prefix = root.replace(doors.user(), doors.user("guest")), urlsplit(root).path[1:]
    for _ in ("not there", "there"):
        for words in (("topics", "apply"), ("topics", "check"), ("runs",), ("refused",)):
            said = command("--log", url, *words)

            assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
            assert f"user 'guest' lacks a right to topic {prefix}-" in said.err
        assert command("--log", root, "topics", "apply").code == 0


def test_who_makes_the_topics_needs_three_rights(doors: Doors) -> None:
    """As the page on fleets says."""
    root, _, _ = doors.opened("SCRAM-SHA-512")
    url, prefix = root.replace(doors.user(), doors.user("guest")), urlsplit(root).path[1:]
    for right in ("Create", "Describe", "DescribeConfigs"):
        assert command("--log", url, "topics", "apply").code == 2
        rights.give(doors, rights.Right("guest", right, "topic", f"{prefix}-*"))

    assert command("--log", url, "topics", "apply").code == 0


@pytest.mark.parametrize(
    ("right", "name"), [("Read", "control"), ("Read", "verdicts"), ("Write", "events")]
)
def test_an_agent_that_lacks_a_right_does_not_begin(doors: Doors, right: str, name: str) -> None:
    """One that cannot hear orders would go on after a kill."""
    url, missing, why = without(doors, "agent", right, name)
    with pytest.raises(LogUnreachable, match=why):
        recorded(url)
    rights.give(doors, missing)

    recorded(url)


def test_what_was_recorded_waits_for_a_right(doors: Doors) -> None:
    """Whoever records hears which, and loses nothing."""
    url, missing, why = without(doors, "agent", "Describe", "judges")
    with ledger.connect(url) as led, led.run("r"):
        with pytest.raises(ledger.NotDurable, match=why):
            led.flush(2)
        rights.give(doors, missing)

        led.flush(UP_S)


@pytest.mark.parametrize(
    ("role", "right", "name"),
    [("judge", "Read", "judges"), ("judge", "Read", "events"), ("archivist", "Read", "verdicts")],
)
def test_a_worker_that_may_not_read_ends(
    doors: Doors, tmp_path: Path, role: str, right: str, name: str
) -> None:
    """It would be a member of its group that does nothing, without a word."""
    url, _, why = without(doors, role, right, name)
    archive = str(tmp_path / "archive")
    with working(url, tmp_path, role, "--wait-s", WAIT, "--archive", archive) as worker:
        assert worker.ended() == 1

    assert f"{why}; give it the rights" in worker.err
    assert worker.err.count("\n") == 1


@pytest.mark.parametrize(
    ("right", "name"), [("Write", "judges-*"), ("Write", "checkpoints"), ("Write", "verdicts")]
)
def test_a_judge_that_may_not_write_stands_by(
    doors: Doors, tmp_path: Path, right: str, name: str
) -> None:
    """It says why, and judges as soon as it may."""
    url, missing, why = without(doors, "judge", right, name)
    with working(url, tmp_path, "judge") as worker:
        worker.said(why)
        rights.give(doors, missing)
        worker.said("judging 0-3 of 4 partitions")

        assert worker.end() == 0
    assert "Traceback" not in worker.err


def test_an_archivist_that_may_not_delete_goes_on(doors: Doors, tmp_path: Path) -> None:
    """Kafka's disk fills meanwhile, so it says so; and it deletes as soon as it may."""
    url, missing, _ = without(doors, "archivist", "Delete", "events")
    port = free_port()
    root = url.replace(doors.user("archivist"), doors.user())
    archive = ("--archive", str(tmp_path / "archive"), "--keep-ms", "0", "--web-port", str(port))
    with (
        working(root, tmp_path / "1", "judge") as judge,
        working(url, tmp_path / "2", "archivist", *archive) as archivist,
    ):
        judge.said("judging 0-3 of 4 partitions")
        archivist.said("archiving ")
        recorded(root)
        archivist.said(f"nothing is deleted from {missing.name}: ")
        archived = metric(port, "ledger_archivist_rows_total")
        trimmed = metric(port, "ledger_archivist_trimmed_total")
        rights.give(doors, missing)
        wait_for(
            lambda: metric(port, "ledger_archivist_trimmed_total") > trimmed, UP_S, what="trimming"
        )

        assert archived > 0
        assert (judge.end(), archivist.end()) == (0, 0)
    assert "Traceback" not in archivist.err
