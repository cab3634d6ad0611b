"""What is no event, and how it gets to the refused topic: with its reason, and never as a flood.

What a newcomer would get wrong
    A record is refused before the fold, by itself and its place alone: whoever folds the
    partition again refuses the same. An event that cannot follow what came before is another
    thing: it gets a verdict.
    A claim is no reason: `at_ms` may be from 2038, it is data. But the record's own timestamp is
    the clock of its run, so one that the broker did not give is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from typing import Any

from ledger.core.events import Event, PolicyRecorded
from ledger.judge.muting import Muting, source_of
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_outbox import Letter
from ledger.wire import UnreadableEvent, decode

REASON_MAX = 2_048
BYTES_MAX = 65_536
"""Of what cannot be read so much is copied; the whole is at its offset."""
BY_SENDER = 0
"""The type of a timestamp that the sender gave (CreateTime)."""


def read(record: Any) -> Event:
    """The event that a record of Kafka is. Raises UnreadableEvent, whose reason a person acts on.

    Whether its partition is the right one is not looked at.
    """
    if record.timestamp_type == BY_SENDER:
        raise UnreadableEvent(
            f"timestamp: {_when(record.timestamp)} is the sender's clock, not the log's; "
            "set message.timestamp.type=LogAppendTime on the events topic"
        )
    value = record.value
    if value is None:
        raise UnreadableEvent("it has no value; an event is one JSON object")
    event = decode(value)
    run: str = event.__dict__["run"]
    if record.key != run.encode():
        raise UnreadableEvent(
            f"run: its key in the log is {record.key!r:.140}, it says {run!r:.140}"
        )
    return event


class Refusals:
    """What a judge of partition `number` of a topic's `partitions` refuses; `put` sends it away.

    `known` are the runs that are held: their partition was looked at when they started.
    """

    def __init__(
        self,
        topic: str,
        number: int,
        partitions: int,
        *,
        known: Container[str],
        put: Callable[[Letter], None],
        muting: Muting,
    ) -> None:
        self._topic, self._number, self._partitions = topic, number, partitions
        self._known, self._put = known, put
        self._muting = muting
        self.count = 0

    @property
    def muted(self) -> int:
        """Refused records that were not copied, because their source was muted."""
        return self._muting.muted

    def event(self, record: Any) -> Event | None:
        """The event that a record is; None for one that is refused."""
        try:
            event = read(record)
            if event.__dict__["run"] not in self._known:
                self._check_partition(event)
        except UnreadableEvent as problem:
            self._refuse(record, problem.reason)
            return None
        if self._muting.bad and (said := self._muting.good(event.source, f"key {event.run}")):
            self._put(self._letter(record, said, event.source, b"", finding=True))
        return event

    def _check_partition(self, event: Event) -> None:
        if isinstance(event, PolicyRecorded):
            return  # Policies are in every partition.
        belongs = partition_of(event.run.encode(), self._partitions)
        if belongs != self._number:
            raise UnreadableEvent(
                f"partition: the key {event.run!r:.140} belongs to partition {belongs} of "
                f"{self._partitions} (murmur2), not to {self._number}"
            )

    def _refuse(self, record: Any, reason: str) -> None:
        self.count += 1
        key = (record.key or b"").decode(errors="replace")
        named = dict(record.headers or ()).get("source") or b""  # A header may have no value.
        source = named.decode(errors="replace") or source_of(record.value, key)
        heed = self._muting.refused(source, record.timestamp)
        value = (record.value or b"")[:BYTES_MAX]
        if heed.copied:
            self._put(self._letter(record, reason, source, value))
        if heed.finding:
            self._put(self._letter(record, heed.finding, source, b"", finding=True))

    def _letter(
        self, record: Any, reason: str, source: str, value: bytes, *, finding: bool = False
    ) -> Letter:
        headers = [
            ("reason", reason[:REASON_MAX].encode(errors="replace")),
            ("topic", self._topic.encode()),
            ("partition", str(self._number).encode()),
            ("offset", str(record.offset).encode()),
            ("source", source.encode(errors="replace")),
            ("bytes", str(len(record.value or b"")).encode()),
        ]
        if finding:
            headers.append(("finding", reason.partition(":")[0].encode()))
        return Letter(record.key, value, headers)


def _when(at_ms: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_ms / 1_000))
    except (OverflowError, ValueError, OSError):
        return str(at_ms)
