"""The broker dies under `ledger worker`: workers wait for it, say so, and go on by themselves."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from ledger.archive.errors import ArchiveMissing
from ledger.log.kafka_place import Place
from tests.live.kafka.archived import compare, missing
from tests.live.kafka.broker import running
from tests.live.kafka.chaos import url_of
from tests.live.kafka.clients import new_place
from tests.live.kafka.test_brokers import agents_at, nothing_is_lost
from tests.live.kafka.workers import UP_S, free_port, health, working
from tests.waiting import wait_for

AGAIN = "is taken over again"
"""What a judge says whose checkpoint could not be written for long enough."""


@pytest.mark.parametrize("long", [False, True], ids=["shortly", "long"])
def test_workers_outlive_their_broker(tmp_path: Path, long: bool) -> None:
    """Nobody has to start anything again. What was acknowledged is there, judged once, archived
    once; a supervisor sees meanwhile who cannot work."""
    port, archive = free_port(), tmp_path / "archive"
    with running() as broker:
        if not broker.nodes:
            pytest.skip("the broker that LEDGER_KAFKA names is not ours to kill")
        place = new_place(broker.bootstrap)
        with (
            working(place, tmp_path / "judge", "judge", "--web-port", str(port)) as judge,
            working(
                place, tmp_path / "archivist", "archivist", "--archive", str(archive),
                "--web-port", str(port + 1),
            ) as archivist,
            agents_at(url_of(place)) as (led, agents),
        ):  # fmt: skip
            agents.more()
            both(port, 200)
            broker.say("kill 1")
            both(port, 503)
            if long:
                judge.said(AGAIN)
            broker.say("start 1")
            agents.more()
            both(port, 200)
            agents.stop()
            nothing_is_lost(place, led, agents)
            wait_for(lambda: whole(place, archive), UP_S, what="the archive", poll_s=0.3)

            assert (judge.end(), archivist.end()) == (0, 0)
            assert asyncio.run(compare(place, archive)) > 0
            assert "Traceback" not in judge.err + archivist.err
            assert max(Counter(judge.err.splitlines()).values(), default=0) <= 2


def both(port: int, status: int) -> None:
    """Wait until the judge and the archivist say so."""
    ports = port, port + 1
    wait_for(
        lambda: [health(one).get("status") for one in ports] == [status] * 2, UP_S, what=str(status)
    )


def whole(place: Place, archive: Path) -> bool:
    """Whether everything is archived."""
    try:
        return not asyncio.run(missing(place, archive))
    except ArchiveMissing:
        return False
