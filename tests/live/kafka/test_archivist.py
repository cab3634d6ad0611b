"""The archive holds each record of every topic once, whatever happens to archivists."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from ledger.archive.committer import Committer
from ledger.archive.segment import Segment
from ledger.archive.table import Table
from ledger.archive.verify import verify
from ledger.log.kafka_identity import log_id
from ledger.log.kafka_place import Place
from ledger.log.kafka_place import place as place_of
from ledger.log.kafka_reader import Reader
from tests.live.kafka.archived import archivists, caught_up, compare, fill
from tests.live.kafka.chaos import url_of
from tests.waiting import wait_for
from tests.wheel import ROOT


def test_everything_is_archived_once_and_the_group_is_told(place: Place, tmp_path: Path) -> None:
    """Also where transactions left their marks, and given up ones their records."""
    where = tmp_path / "archive"
    asyncio.run(fill(place, 10, seed=1))
    with archivists(place, tmp_path, where) as workers:
        workers.start()
        caught_up(place, where, workers)
        asyncio.run(transactions(place))
        asyncio.run(fill(place, 10, seed=2))
        caught_up(place, where, workers)
        table = Table.open(where)
        archived = {n: table.next_position("events", n) for n in range(place.partitions or 0)}
        wait_for(
            lambda: asyncio.run(committed(place)) == archived, 60, what="the group to be told",
            poll_s=0.3,
        )  # fmt: skip

        assert workers.stop(1) == 0

    assert asyncio.run(compare(place, where)) >= 8_000
    assert any(span.holes > 0 for span in verify(where).spans)


async def transactions(place: Place) -> None:
    """Some that are committed, and some that are given up."""
    sender = AIOKafkaProducer(**place.client(), transactional_id=f"{place.prefix}-test")
    await sender.start()
    for number in range(6):
        await sender.begin_transaction()
        for partition in range(place.partitions or 0):
            value = b'{"type":"run_started","run":"x"}'
            await sender.send_and_wait(place.topic("events"), value, b"x", partition=partition)
        await (sender.abort_transaction() if number % 2 else sender.commit_transaction())
    await sender.stop()


async def committed(place: Place) -> dict[int, int]:
    """The group's offsets of events, by partition."""
    admin = AIOKafkaAdminClient(**place.client())
    await admin.start()
    found = await admin.list_consumer_group_offsets(f"{place.prefix}-archivists")
    await admin.close()
    topic = place.topic("events")
    return {tp.partition: meta.offset for tp, meta in found.items() if tp.topic == topic}


async def write_and_wait(url: str, where: str) -> None:
    """Write a segment of every partition, say so, and never commit it."""
    place = place_of(url)
    committer = Committer(where, await log_id(place), place.partitions or 0)
    async with Reader(place) as reader:
        for partition in range(place.partitions or 0):
            segment = Segment("events", partition, 0)
            _, end = await reader.bounds(place.topic("events"), partition)
            async for records in reader.read(place.topic("events"), partition, 0, end):
                segment.take(records)
            committer._write(segment)
    print("written", flush=True)
    sys.stdin.read()


def test_killed_between_write_and_commit_nothing_is_twice_or_lost(
    place: Place, tmp_path: Path
) -> None:
    """What was written is in no version; the next archivist writes it again."""
    where = tmp_path / "archive"
    asyncio.run(fill(place, 5, seed=3))
    code = (
        "import asyncio, sys; from tests.live.kafka.test_archivist import write_and_wait; "
        "asyncio.run(write_and_wait(*sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, url_of(place), str(where)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.communicate()
    assert len(list(where.rglob("log=events/**/*.parquet"))) == place.partitions
    with archivists(place, tmp_path, where) as workers:
        workers.start()
        caught_up(place, where, workers)

    assert asyncio.run(compare(place, where)) >= 2_000


def test_partitions_move_and_their_owner_freezes(place: Place, tmp_path: Path) -> None:
    """Who thaws believes that the partitions are still his; the table knows better."""
    where = tmp_path / "archive"
    with archivists(place, tmp_path, where) as workers:
        workers.start()
        asyncio.run(fill(place, 5, seed=4))
        caught_up(place, where, workers)
        workers.start()
        asyncio.run(fill(place, 5, seed=5))
        caught_up(place, where, workers)
        workers.freeze(1)
        asyncio.run(fill(place, 5, seed=6))
        caught_up(place, where, workers)
        workers.thaw(1)
        asyncio.run(fill(place, 5, seed=7))
        caught_up(place, where, workers)
        workers.start()
        workers.kill(2)
        asyncio.run(fill(place, 5, seed=8))
        caught_up(place, where, workers)

    assert asyncio.run(compare(place, where)) >= 10_000


def test_two_that_both_believe_to_own_everything(place: Place, tmp_path: Path) -> None:
    """Two groups, one archive: each is given every partition, and each commits what it can."""
    where = tmp_path / "archive"
    (tmp_path / "other").mkdir()
    with (
        archivists(place, tmp_path, where) as ours,
        archivists(place, tmp_path / "other", where, LEDGER_ARCHIVE_GROUP="others") as others,
    ):
        ours.start()
        others.start()
        for seed in range(10, 16):
            asyncio.run(fill(place, 5, seed=seed))
        caught_up(place, where, ours)
        others.kill(1)
        asyncio.run(fill(place, 5, seed=16))
        caught_up(place, where, ours)

    assert asyncio.run(compare(place, where)) >= 14_000


def test_an_archive_of_another_log_is_refused(place: Place, tmp_path: Path) -> None:
    """Offsets of another log would look like our own."""
    where = tmp_path / "archive"
    Committer(where, "kafka-other-ledger", 4)
    with archivists(place, tmp_path, where) as workers:
        workers.start()
        process = workers.running[1]
        wait_for(lambda: process.poll() is not None, 60, what="the worker to end")

        assert process.returncode == 1
        assert "holds log kafka-other-ledger, not this log" in workers.said()
        assert "Traceback" not in workers.said()


pytestmark = pytest.mark.live
