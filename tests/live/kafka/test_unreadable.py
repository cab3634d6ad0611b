"""A record that no reader can parse: its partition stands and says where, the others go on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from ledger.core.events import RunStarted, ToolCallRequested
from ledger.log.kafka import KafkaLog
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_unreadable import Unreadable
from ledger.wire import encode
from tests.live.kafka.calling import command
from tests.live.kafka.chaos import url_of
from tests.live.kafka.clients import told
from tests.live.kafka.test_loss import trim
from tests.live.kafka.test_refused import named
from tests.live.kafka.workers import UP_S, free_port, health, working
from tests.waiting import wait_for

NAME, CRC, CHECKED = b"header-name", 17, 21
"""A header's name to be made unreadable; where the checksum of a batch is, and what it is of."""


def asks(run: str, number: int) -> bytes:
    """Whether a call may be made."""
    asked = ToolCallRequested(
        run=run, agent="lead", source="host-1", seq=number, call=f"c{number}", tool="t"
    )
    return encode(asked)


async def send(place: Place, run: str, values: list[bytes], *, poisoned: bool = False) -> None:
    """Write these in one batch; where `poisoned` the last has a header whose name is no UTF-8."""
    sender = AIOKafkaProducer(**place.client())
    await sender.start()
    batch = sender.create_batch()
    for value in values:
        last = poisoned and value is values[-1]
        headers = [(NAME.decode(), b"")] if last else []
        batch.append(timestamp=None, key=run.encode(), value=value, headers=headers)
    made = bytearray(batch._build())
    if poisoned:
        at = made.index(NAME)
        made[at : at + 2] = b"\xff\xfe"
        made[CRC:CHECKED] = calc_crc32c(made[CHECKED:]).to_bytes(4, "big")
    batch._buffer = bytes(made)
    home = partition_of(run.encode(), place.partitions or 0)
    await (await sender.send_batch(batch, place.topic("events"), partition=home))
    await sender.stop()


def test_a_reader_has_all_before_it(place: Place) -> None:
    """And says where it is, whatever batch it stands in."""
    topic, read = place.topic("events"), list[int]()

    async def story() -> None:
        run = named(0)[0]
        await send(place, run, [asks(run, 1), asks(run, 2)])
        await send(place, run, [asks(run, 3), asks(run, 4), asks(run, 5)], poisoned=True)
        async with Reader(place) as reader:
            async for records in reader.read(topic, 0, 0, 5):
                read.extend(record.offset for record in records)

    with pytest.raises(Unreadable) as caught:
        asyncio.run(story())

    assert read == [0, 1, 2, 3]
    assert (caught.value.partition, caught.value.offset) == (0, 4)
    assert str(caught.value).startswith(
        f"partition 0 of {topic} cannot be read from offset 4 on: UnicodeDecodeError("
    )


def test_one_partition_stands_and_the_others_go_on(place: Place, tmp_path: Path) -> None:
    """Until it is deleted, and accepted as lost."""
    bad, good, port = named(0)[0], named(1)[0], free_port()
    start = [RunStarted(run=run, agent="lead", source="host-1") for run in (bad, good)]
    asyncio.run(send(place, bad, [encode(start[0]), asks(bad, 1), b"poison"], poisoned=True))
    asyncio.run(send(place, bad, [asks(bad, 2)]))
    asyncio.run(send(place, good, [encode(start[1]), asks(good, 1)]))
    archive = str(tmp_path / "archive")
    with (
        working(
            place, tmp_path / "1", "all", "--archive", archive, "--web-port", str(port)
        ) as worker,
        KafkaLog(url_of(place)) as log,
    ):
        standing = [_standing(port), _standing(port + 1)]
        wait_for(lambda: told(log, good), UP_S, what="the others to be judged")
        wait_for(
            lambda: _archived(place, port + 1) == 2, UP_S, what="what is before to be archived"
        )
        assert [verdict.seq for verdict in told(log, bad)] == [1]
        asyncio.run(trim(place, 3))
        accepted = command(place, "topics", "accept-loss", "0", "2", "2", "--reason", "a test")
        wait_for(lambda: len(told(log, bad)) == 2, UP_S, what="the rest to be judged")
        wait_for(lambda: _archived(place, port + 1) == 4, UP_S, what="the rest to be archived")
        wait_for(lambda: health(port)["ok"], UP_S, what="the judge to be well")
        wait_for(lambda: health(port + 1)["ok"], UP_S, what="the archivist to be well")

        assert worker.end() == 0
    assert accepted.code == 0
    assert [found["status"] for found in standing] == [503, 503]
    assert worker.err.count("from offset 2 on: UnicodeDecodeError(") == 2
    assert "Traceback" not in worker.err


def _standing(port: int) -> dict[str, Any]:
    """What /health says once a partition stands."""

    def found() -> dict[str, Any]:
        said = health(port)
        return said if any("from offset 2 on" in one for one in said.get("problems", [])) else {}

    return wait_for(found, UP_S, what="the partition to stand")


def _archived(place: Place, port: int) -> int:
    archived: int = health(port)["partitions"].get(f"{place.topic('events')} 0", 0)
    return archived
