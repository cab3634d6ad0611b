"""Whether an archivist is well: what it was given is archived, or it says what is not, and why."""

import asyncio
from pathlib import Path
from typing import Any

from ledger.log.kafka_place import Place
from tests.live.kafka.archived import fill
from tests.live.kafka.workers import UP_S, free_port, health, working
from tests.waiting import wait_for


def test_an_archive_that_is_away_is_said(place: Place, tmp_path: Path) -> None:
    """It is tried for ever, and what waits is in Kafka; but whoever looks must see it."""
    port, where = free_port(), tmp_path / "archive"
    log, aside = where / "_delta_log", where / "aside"
    asyncio.run(fill(place, 3, seed=41))
    with working(
        place, tmp_path / "1", "archivist", "--archive", str(where), "--web-port", str(port)
    ) as worker:
        wait_for(lambda: _archived_all(port), UP_S, what="all to be archived")
        log.rename(aside)
        log.write_text("no folder")
        asyncio.run(fill(place, 3, seed=42))
        found = wait_for(lambda: _unwell(port), UP_S, what="it to be unwell", poll_s=0.2)
        log.unlink()
        aside.rename(log)
        wait_for(lambda: _archived_all(port), UP_S, what="all to be archived", poll_s=0.2)

        assert worker.end() == 0
    (problem,) = found["problems"]
    assert found["status"] == 503
    assert "archived for " in problem
    assert str(where) in problem


def _archived_all(port: int) -> bool:
    found = health(port)
    return bool(found.get("ok") and found["partitions"] and found["rows"] and not found["lag"])


def _unwell(port: int) -> dict[str, Any]:
    found = health(port)
    return found if any("archived for" in one for one in found.get("problems", [])) else {}
