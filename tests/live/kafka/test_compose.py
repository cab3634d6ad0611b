"""What `docker-compose.yml` runs, run here: every command and check, on a real broker."""

import os
import subprocess
import sys
from pathlib import Path

from ledger.log.kafka_place import Place
from tests.live.kafka.chaos import url_of
from tests.live.kafka.workers import UP_S, free_port, working
from tests.test_compose import SERVICES
from tests.waiting import wait_for


def environment(name: str, place: Place, folder: Path, port: int) -> dict[str, str]:
    """The variables of a container, with the paths, ports and hosts of here."""
    given = dict(SERVICES[name]["environment"])
    given["LEDGER_LOG"] = url_of(place)
    given["LEDGER_ARCHIVE"] = str(folder / "archive")
    given["LEDGER_WEB_PORT"] = str(port)
    given["LEDGER_WEB_BIND"] = "127.0.0.1"
    return given


def command(name: str) -> list[str]:
    """What a container of workers runs, without `worker`."""
    verb, *rest = map(str, SERVICES[name]["command"])
    assert verb == "worker"
    return rest


def well(name: str, given: dict[str, str]) -> bool:
    """What the container's health check says."""
    kind, program, *rest = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")
    done = subprocess.run(
        [sys.executable, *rest], env={**os.environ, **given}, capture_output=True, check=False
    )
    return done.returncode == 0


def test_every_command_runs_and_becomes_well(place: Place, tmp_path: Path) -> None:
    port = free_port()
    topics = environment("topics", place, tmp_path, 0)
    made = subprocess.run(
        [sys.executable, "-m", "ledger.cli", *SERVICES["topics"]["command"]],
        env={**os.environ, **topics}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    judge = environment("judge", place, tmp_path, port)
    archivist = environment("archivist", place, tmp_path, port + 1)
    with (
        working(place, tmp_path / "1", *command("judge"), **judge) as first,
        working(place, tmp_path / "2", *command("archivist"), **archivist) as second,
    ):
        wait_for(lambda: well("judge", judge), UP_S, what="the judge to be well", poll_s=0.5)
        wait_for(lambda: well("archivist", archivist), UP_S, what="the archivist", poll_s=0.5)

        assert (first.end(), second.end()) == (0, 0)
        assert not well("judge", judge)
    assert made.returncode == 0, made.stderr
