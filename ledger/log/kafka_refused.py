"""The refused topic: what was never folded, and why; also what a person accepts as lost.

What a newcomer would get wrong
    Judges write a refusal again when one takes over from another in between, so it is known by
    its place: who reads leaves out what came before.
    A `range_lost` record says that records of a topic are gone for good and shall not be waited
    for. It stands here because this is the one place that says why an offset was not folded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError

from ledger.errors import LedgerError
from ledger.log.kafka_lost import RANGE_LOST, Lost
from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_start import start, unreachable
from ledger.log.kafka_topics import need

REASON_MAX = 2_048


class Refused(NamedTuple):
    """One record of the topic: its `pos` there, and the place of what it is about.

    `size` is how many bytes there were, `value` what was kept of them. `finding` names what was
    found of a source, or a loss; then there is no value.
    """

    pos: int
    append_ms: int
    source: str
    reason: str
    topic: str
    partition: int
    offset: int
    key: str
    size: int
    value: bytes
    finding: str = ""
    upto: int = -1


class StillThere(LedgerError):
    """What shall be accepted as lost is not: the partition begins at `begin`."""

    def __init__(self, topic: str, loss: Lost, begin: int) -> None:
        super().__init__(topic, loss, begin)
        self.topic, self.loss, self.begin = topic, loss, begin

    def __str__(self) -> str:
        return (
            f"{self.topic} partition {self.loss.partition} begins at offset {self.begin}, so "
            f"{max(self.loss.first, self.begin)} to {self.loss.last} may still be there or come; "
            f"only what is before {self.begin} can be accepted as lost"
        )


async def refused(place: Place) -> AsyncIterator[Refused]:
    """Everything in the topic, in order, each once. Raises KafkaUnreachable, TopicsWrong."""
    seen: set[tuple[str, int, int, str, int]] = set()
    try:
        await need(place, "refused")
        async with Reader(place) as reader:
            topic = place.topic("refused")
            begin, end = await reader.bounds(topic, 0)
            async for records in reader.read(topic, 0, begin, end):
                for record in records:
                    one = _read(record)
                    where = (one.topic, one.partition, one.offset, one.finding, one.upto)
                    if where not in seen:
                        seen.add(where)
                        yield one
    except (KafkaError, OSError) as problem:
        raise unreachable(place, problem) from None


async def lost(place: Place, short: str, partition: int) -> list[Lost]:
    """What was accepted as lost of a partition; `short` names its topic. Raises as `refused`.

    Only what is in the words of `accept_loss` counts: it shall be proved later.
    """
    where = place.topic(short), partition
    found = [
        Lost(one.partition, one.offset, one.upto, one.pos, one.reason)
        async for one in refused(place)
        if one.finding == RANGE_LOST and (one.topic, one.partition) == where
    ]
    return [one for one in found if one.reason.startswith(one.said(""))]


async def accept_loss(place: Place, short: str, loss: Lost, *, by: str) -> None:
    """Write that these records of a topic are lost for good, because of `loss.reason`.

    Raises StillThere, and as `refused`.
    """
    topic = place.topic(short)
    begin = await _begins(place, short, loss.partition)
    if loss.last >= begin:
        raise StillThere(topic, loss, begin)
    await need(place, "refused")
    headers = [
        ("reason", loss.said(loss.reason).encode()[:REASON_MAX]),
        ("topic", topic.encode()),
        ("partition", str(loss.partition).encode()),
        ("offset", str(loss.first).encode()),
        ("upto", str(loss.last).encode()),
        ("source", by.encode()),
        ("finding", RANGE_LOST.encode()),
    ]
    sender = producer(place)
    try:
        await start(sender, place)
        await sender.send_and_wait(place.topic("refused"), value=b"", partition=0, headers=headers)
    except (KafkaError, OSError) as problem:
        raise unreachable(place, problem) from None
    finally:
        await sender.stop()


async def _begins(place: Place, short: str, partition: int) -> int:
    """The first offset that a partition still has. Raises as `refused`."""
    await need(place, short)
    try:
        async with Reader(place) as reader:
            return (await reader.bounds(place.topic(short), partition))[0]
    except (KafkaError, OSError) as problem:
        raise unreachable(place, problem) from None


def _read(record: Any) -> Refused:
    """A record of the topic; what is missing in one that others wrote is empty."""
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    value = record.value or b""
    return Refused(
        record.offset,
        record.timestamp,
        headers.get("source", ""),
        headers.get("reason", ""),
        headers.get("topic", ""),
        _number(headers.get("partition"), -1),
        _number(headers.get("offset"), -1),
        (record.key or b"").decode(errors="replace"),
        _number(headers.get("bytes"), len(value)),
        value,
        headers.get("finding", ""),
        _number(headers.get("upto"), -1),
    )


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default
