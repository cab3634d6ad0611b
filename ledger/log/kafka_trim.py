"""Deletes from the topics what nobody needs there any more: archived, judged, and old.

What a newcomer would get wrong
    Kafka's own retention knows neither the archive nor the judges, so these topics have none
    (`topics.toml`): what an archivist deletes is all that is ever deleted.
    Judges need events from the offset of their last checkpoint on, and verdicts from the place
    that is noted beside it. Only an offset with that note is a checkpoint's: a person may have
    moved the group. Without a checkpoint nothing is deleted, whatever the archive has.
    Policies are events too. They may go: checkpoints keep them, clients read `policies`.
    Age is by the log's own clock. A machine that believes it is next year deletes nothing early.
    Nobody need be alone here: each bound only ever grows, and deleting twice is deleting once.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from ledger.errors import LedgerError
from ledger.log.kafka_asker import Asker
from ledger.log.kafka_place import Place, group_of
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_start import start, unreachable

Where = tuple[str, int]
"""A topic by its short name, and a partition of it."""
JUDGED = ("events", "verdicts")


class NotTrimmed(LedgerError):
    """Records that nobody needs could not be deleted from `topic`."""

    def __init__(self, topic: str, problem: str) -> None:
        super().__init__(topic, problem)
        self.topic, self.problem = topic, problem

    def __str__(self) -> str:
        return (
            f"nothing is deleted from {self.topic}: {self.problem}; it is tried again, and Kafka's "
            "disk fills meanwhile (archivists need the right to delete records)"
        )


async def trim(
    place: Place, archived: Mapping[Where, int], *, keep_ms: Mapping[str, int], now_ms: int
) -> int:
    """Delete what is archived, judged and older than `keep_ms`; how many offsets that were.

    `archived` has the first position of each log and partition that the archive lacks, as of a
    commit that is durable; `keep_ms` is by topic, `now_ms` by the log's clock. Raises NotTrimmed.
    """
    admin = AIOKafkaAdminClient(**place.client())
    topic, count = place.prefix, 0
    problem: NotTrimmed | None = None
    try:
        async with Asker(place) as asker, Reader(place) as reader:
            needed = await _needed(asker, place)
            await start(admin, place)
            for (short, number), position in archived.items():
                topic = place.topic(short)
                begin, _ = await reader.bounds(topic, number)
                young = await reader.first_since(topic, number, max(0, now_ms - keep_ms[short]))
                below = min(position, position if young is None else young)
                if short in JUDGED:
                    below = min(below, needed.get((short, number), 0))
                if below <= begin:
                    continue
                where = TopicPartition(topic, number)
                try:
                    await admin.delete_records({where: RecordsToDelete(before_offset=below)})
                    count += below - begin
                except KafkaError as failed:  # Of this partition; others may do it.
                    problem = NotTrimmed(topic, str(failed))
    except (KafkaError, OSError) as failed:
        raise NotTrimmed(topic, unreachable(place, failed).problem) from None
    finally:
        await admin.close()
    if problem is not None:
        raise problem
    return count


async def _needed(asker: Asker, place: Place) -> dict[Where, int]:
    """The first offset that judges need, of each partition that has a checkpoint."""
    group, events = group_of(place), place.topic("events")
    # In this order: what is judged meanwhile is needed no longer.
    heard = await asker.heard(group, events)
    judged = await asker.judged(group, events)
    found: dict[Where, int] = {}
    for number, said in heard.items():
        if said.generation:
            found["verdicts", number] = said.pos
            found["events", number] = judged.get(number, 0)
    return found
