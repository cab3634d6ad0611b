"""`ledger worker`: how it starts, what it says of itself, how it ends, who takes over."""

import asyncio
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.log.kafka_place import Place
from ledger.processors.app import GROUP
from tests.live.kafka.chaos import url_of
from tests.live.kafka.test_take_over import both, fill
from tests.live.kafka.traffic import Traffic
from tests.live.kafka.workers import (
    UP_S,
    ask,
    free_port,
    health,
    late_door,
    members,
    metric,
    running,
    working,
)
from tests.waiting import wait_for

LONG_S = "300"
"""A session so long that nobody who waits for its end passes."""


def test_sigterm_settles_and_hands_over_at_once(place: Place, tmp_path: Path) -> None:
    """A rolling restart: no session runs out, nothing is decided twice, nothing is lost."""
    traffic = Traffic(0, place.partitions or 0, seed=11)
    port = free_port()
    with working(place, tmp_path / "1", "--session-s", LONG_S) as first:
        first.said("judging 0-3 of 4 partitions")
        asyncio.run(fill(place, traffic, 5))
        with working(place, tmp_path / "2", "--session-s", LONG_S, "--web-port", str(port)) as two:
            wait_for(lambda: len(members(place, GROUP)) == 2, UP_S, what="the second to join")
            assert (first.end(), first.err) == (0, "")
            wait_for(lambda: len(members(place, GROUP)) == 1, UP_S, what="the first to have left")
            wait_for(lambda: health(port).get("assigned") == [0, 1, 2, 3], UP_S, what="take-over")
            asyncio.run(fill(place, traffic, 5))
            wait_for(lambda: metric(port, "ledger_judge_judged_total") >= 500, UP_S, what="judging")
            assert (two.end(), two.err) == (0, "")
    ours, plain = asyncio.run(both(place))

    assert members(place, GROUP) == []
    assert ours == plain


def test_health_and_metrics_say_how_it_is(place: Place, tmp_path: Path) -> None:
    """A supervisor asks one, Prometheus the other; both over HTTP."""
    traffic, port = Traffic(0, place.partitions or 0, seed=12), free_port()
    asyncio.run(fill(place, traffic, 5))
    with working(place, tmp_path, "--web-port", str(port)):
        wait_for(lambda: health(port).get("ok"), UP_S, what="it to be well")
        wait_for(lambda: metric(port, "ledger_judge_judged_total") >= 500, UP_S, what="judging")
        found = wait_for(lambda: health(port) if health(port)["ok"] else {}, UP_S, what="well")
        metrics = ask(port, "/metrics")[1]

    assert (found["status"], found["problems"]) == (200, [])
    assert found["partitions"]["0"]["next_offset"] >= 500
    assert "ledger_judge_taken_over_total 4.0" in metrics
    for name in (
        'lag{partition="0"}', 'runs_live{partition="0"}', 'checkpoint_seconds{partition="3"}',
        "seeks_total", "refused_total", "take_over_seconds", "rate",
    ):  # fmt: skip
        assert f"ledger_judge_{name} " in metrics


def test_a_broker_that_is_not_there_yet_is_waited_for(place: Place, tmp_path: Path) -> None:
    """Containers start in any order."""
    port = free_port()
    url = url_of(replace(place, bootstrap=f"127.0.0.1:{port}"))
    with late_door(port, place) as opens, working(url, tmp_path) as worker:
        worker.said(f"waiting up to 60 s for 127.0.0.1:{port}")
        opens()
        worker.said("judging 0-3 of 4 partitions")

        assert worker.end() == 0


def test_without_a_broker_it_ends_after_a_while(tmp_path: Path) -> None:
    """A supervisor starts it again; a person reads why."""
    with working(f"kafka://127.0.0.1:{free_port()}", tmp_path, LEDGER_WAIT_S="0.1") as worker:
        code = worker.ended()

    assert code == 1
    assert "ledger judge: waiting up to 0.1 s" in worker.err
    assert "is the broker up, and the address right?" in worker.err
    assert "Traceback" not in worker.err


def test_what_is_wrong_ends_it_before_it_reads(place: Place, tmp_path: Path) -> None:
    """Topics that are not as they must be, a port that somebody has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        wrong = replace(place, partitions=8)
        with (
            working(wrong, tmp_path / "1") as first,
            working(place, tmp_path / "2", "--web-port", port) as second,
        ):
            assert (first.ended(), second.ended()) == (1, 1)

    assert "has 4 partitions, topics.toml says 8" in first.err
    assert f"the web server cannot have 127.0.0.1:{port}: " in second.err
    assert "Traceback" not in first.err + second.err
    assert members(place, GROUP) == []


@pytest.mark.parametrize("module", ["app", "archiving"])
def test_fausts_own_command_does_the_same(place: Place, tmp_path: Path, module: str) -> None:
    """For whoever runs everything else with it."""
    port = free_port()
    with running(
        tmp_path, "faust", "-A", f"ledger.processors.{module}", "worker", "--web-port", str(port),
        LEDGER_KAFKA=url_of(place), LEDGER_ARCHIVE=str(tmp_path / "archive"),
    ) as worker:  # fmt: skip
        wait_for(lambda: health(port).get("partitions"), UP_S, what="partitions to be held")
        wait_for(lambda: health(port).get("ok"), UP_S, what="it to be well")

        assert worker.end() == 0
    assert members(place, GROUP) == members(place, "archivists") == []


def test_told_to_end_while_it_starts_it_ends(place: Place, tmp_path: Path) -> None:
    """Whoever stops what was started by mistake gets no complaint."""
    port = free_port()
    with working(place, tmp_path, "--web-port", str(port)) as worker:
        wait_for(lambda: ask(port, "/health")[0], UP_S, what="the web server")

        assert worker.end(signal.SIGINT) == 0
        assert worker.err == ""


def test_all_is_both_and_neither_outlives_the_other(place: Place, tmp_path: Path) -> None:
    """One command for a small fleet. A supervisor that sees one of them gone starts both anew."""
    port = free_port()
    archive = str(tmp_path / "archive")
    asyncio.run(fill(place, Traffic(0, place.partitions or 0, seed=13), 2))
    with working(
        place, tmp_path / "1", "all", "--archive", archive, "--web-port", str(port)
    ) as worker:
        wait_for(lambda: health(port).get("ok"), UP_S, what="the judge to be well")
        wait_for(lambda: metric(port + 1, "ledger_archivist_rows_total") >= 200, UP_S, what="rows")
        wait_for(lambda: health(port + 1).get("ok"), UP_S, what="the archivist to be well")
        worker.said("ledger archivist: archiving ")
        (judge,) = worker.children("judge")
        os.kill(judge, signal.SIGKILL)

        assert worker.ended() == 1
        assert worker.children("archivist") == []
    with working(place, tmp_path / "2", "all", "--archive", archive) as worker:
        worker.said("ledger judge: judging 0-3 of 4 partitions")
        worker.said("ledger archivist: archiving ")
        os.killpg(worker.process.pid, signal.SIGINT)  # As Ctrl-C on a terminal does.

        assert (worker.ended(), worker.err) == (0, "")
    assert members(place, GROUP) == members(place, "archivists") == []


def test_the_children_of_one_that_was_killed_end(place: Place, tmp_path: Path) -> None:
    """Nobody could tell them to. No file tells of them either."""
    archive, litter = str(tmp_path / "archive"), tmp_path / "tmp"
    litter.mkdir()
    home = tmp_path / "home"
    with working(place, home, "all", "--archive", archive, TMPDIR=str(litter)) as worker:
        worker.said("ledger judge: judging 0-3 of 4 partitions")
        worker.said("ledger archivist: archiving ")
        worker.end(signal.SIGKILL)

        wait_for(lambda: not members(place, GROUP), UP_S, what="the judge to have left")
        wait_for(lambda: not members(place, "archivists"), UP_S, what="the archivist, too")
    assert list(litter.iterdir()) == []
    assert {file.name for file in home.iterdir()} == {"out", "err"}
