"""A publisher may compress with whatever Kafka knows: it is read and judged like any other."""

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaProducer

from ledger.core.events import Event, RunStarted, ToolCallRequested
from ledger.log.kafka import KafkaLog
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place
from ledger.wire import encode
from tests.live.kafka.clients import PARTITIONS, heard, judging, refusals, told
from tests.waiting import wait_for

CODECS = ("gzip", "snappy", "lz4", "zstd")


def said(run: str) -> list[Event]:
    """A run that asks whether it may call a tool."""
    return [
        RunStarted(run=run, agent="lead", source="host-1", seq=1),
        ToolCallRequested(run=run, agent="lead", source="host-1", seq=2, call="c", tool="t"),
    ]


async def send(place: Place, run: str, codec: str) -> None:
    """Write what the run says in one compressed batch."""
    sender = AIOKafkaProducer(**place.client(), compression_type=codec, linger_ms=100)
    await sender.start()
    home = partition_of(run.encode(), PARTITIONS)
    topic = place.topic("events")
    sent = [await sender.send(topic, encode(one), run.encode(), home) for one in said(run)]
    await asyncio.gather(*sent)
    await sender.stop()


def test_every_codec_is_read_and_judged(place: Place, tmp_path: Path) -> None:
    """The broker keeps batches as they were sent, so each reader must know every codec."""
    with judging(place, tmp_path) as url, KafkaLog(url) as log:
        for codec in CODECS:
            asyncio.run(send(place, codec, codec))
            wait_for(lambda: told(log, codec), 60, what=f"{codec} to be judged")  # noqa: B023

            assert [one.seq for one in told(log, codec)] == [2], codec
            assert heard(log, codec) == said(codec)
            assert refusals(log, codec) == []
