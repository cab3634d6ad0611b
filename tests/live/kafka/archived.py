"""What an archive of a log on Kafka holds, beside what the topics hold: read plainly, compared."""

import asyncio
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from deltalake import DeltaTable

from ledger.archive.errors import ArchiveMissing
from ledger.archive.rows import SCHEMA
from ledger.archive.table import Table
from ledger.archive.verify import verify
from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_verdicts import Published
from ledger.wire import UnreadableEvent
from tests.live.kafka.chaos import ARCHIVISTS, Workers
from tests.live.kafka.traffic import Traffic
from tests.waiting import wait_for

Row = tuple[int, int, bytes, str]
"""Position, append time, SHA-256 of the value, run."""
CAUGHT_UP_S = 120.0
COMMIT_S = "0.3"
LOGS = ("events", "verdicts", "refused", "control")


@contextmanager
def archivists(place: Place, folder: Path, where: str | Path, **more: str) -> Iterator[Workers]:
    """Archivist processes that commit often; ended with the block, and quoted if it fails."""
    named = {"LEDGER_ARCHIVE": str(where), "LEDGER_ARCHIVE_COMMIT_S": COMMIT_S, **more}
    workers = Workers(place, folder, ARCHIVISTS, **named)
    try:
        yield workers
    except BaseException:
        sys.stderr.write(workers.said())
        raise
    finally:
        workers.end()


async def fill(place: Place, batches: int, seed: int) -> None:
    """Write batches of events to every partition."""
    sender = producer(place)
    await sender.start()
    for partition in range(place.partitions or 0):
        traffic = Traffic(partition, place.partitions or 0, seed, f"s{seed}")
        for _ in range(batches):
            batch = sender.create_batch()
            for key, value in traffic.batch():
                batch.append(timestamp=None, key=key, value=value)
            sent = await sender.send_batch(batch, place.topic("events"), partition=partition)
            traffic.wrote((await sent).offset)
    await sender.stop()


def caught_up(
    place: Place, where: str | Path, workers: Workers, options: dict[str, str] | None = None
) -> None:
    """Wait until the table claims to hold everything that is in the topics by now."""

    def done() -> bool:
        alive = [n for n in workers.awake() if workers.running[n].poll() is None]
        assert alive, "no worker is left"
        try:
            return not asyncio.run(missing(place, where, options))
        except ArchiveMissing:
            return False  # Nobody has begun.

    wait_for(done, CAUGHT_UP_S, what="the archive to hold everything", poll_s=0.3)


def position(where: str | Path, log: str, partition: int = 0) -> int | None:
    """Where the table stands; None where it has nothing."""
    return Table.open(where).next_position(log, partition)


async def trim(place: Place, log: str, partition: int, below: int) -> None:
    """Delete what is before an offset, as retention or a disk does."""
    admin = AIOKafkaAdminClient(**place.client())
    await admin.start()
    where = TopicPartition(place.topic(log), partition)
    await admin.delete_records({where: RecordsToDelete(before_offset=below)})
    await admin.close()


def partitions_of(place: Place, log: str) -> int:
    """How many a log has."""
    return (place.partitions or 0) if log in ("events", "verdicts") else 1


async def in_topic(place: Place, log: str, partition: int, behind: int = 0) -> list[Row]:
    """Everything that is in a partition of a topic, from position `behind` on."""
    found = []
    async with Reader(place) as reader:
        topic = place.topic(log)
        begin, end = await reader.bounds(topic, partition)
        async for records in reader.read(topic, partition, max(begin, behind), end):
            found += [
                (
                    record.offset,
                    record.timestamp,
                    hashlib.sha256(record.value or b"").digest(),
                    (record.key or b"").decode(errors="replace"),
                )
                for record in records
            ]
    return found


def in_archive(
    where: str | Path, options: dict[str, str] | None = None
) -> dict[tuple[str, int], list[Row]]:
    """Everything that is archived, by log and partition, in order of position."""
    table = DeltaTable(str(where), storage_options=options).to_pyarrow_dataset(schema=SCHEMA)
    columns = ["log", "partition", "position", "append_ms", "payload", "raw", "run"]
    found: dict[tuple[str, int], list[Row]] = {}
    for row in table.to_table(columns).to_pylist():
        value = row["raw"] if row["payload"] is None else row["payload"].encode()
        found.setdefault((row["log"], row["partition"]), []).append(
            (row["position"], row["append_ms"], hashlib.sha256(value).digest(), row["run"])
        )
    return {place: sorted(rows) for place, rows in found.items()}


async def missing(place: Place, where: str | Path, options: dict[str, str] | None = None) -> int:
    """How many records the topics hold that the table does not claim to hold yet."""
    table = Table.open(where, options)
    count = 0
    for log in LOGS:
        for partition in range(partitions_of(place, log)):
            archived = table.next_position(log, partition) or 0
            count += len(await in_topic(place, log, partition, archived))
    return count


async def compare(place: Place, where: str | Path, options: dict[str, str] | None = None) -> int:
    """Each record of the topics is in the archive once, nothing else is; how many that are."""
    archived = in_archive(where, options)
    count = 0
    for log in LOGS:
        for partition in range(partitions_of(place, log)):
            there = await in_topic(place, log, partition)
            ours = archived.pop((log, partition), [])
            twice = [at for at, n in Counter(row[0] for row in ours).items() if n > 1]

            assert not twice, f"{log} {partition}: positions {twice[:5]} are archived twice"
            assert ours == there, _first(log, partition, ours, there)
            count += len(there)
    assert not archived
    found = verify(str(where), storage_options=options)
    assert found.ok, found.problems
    return count


async def counting(place: Place, partition: int) -> set[tuple[int, int]]:
    """(position, event's offset) of the verdicts of a partition that count, by the rule."""
    rule, found = Published(), set()
    async with Reader(place) as reader:
        topic = place.topic("verdicts")
        _, end = await reader.bounds(topic, partition)
        async for records in reader.read(topic, partition, 0, end):
            for record in records:
                try:
                    verdict = rule.take(record.key, record.value)
                except UnreadableEvent:
                    continue
                if verdict is not None:
                    found.add((record.offset, verdict.offset))
    return found


def _first(log: str, partition: int, ours: list[Row], there: list[Row]) -> str:
    """The first thing in which they differ."""
    left, right = dict.fromkeys(ours), dict.fromkeys(there)
    only = [row[0] for row in ours if row not in right]
    lacks = [row[0] for row in there if row not in left]
    return f"{log} {partition}: {len(ours)} of {len(there)}; only here {only[:5]}, not {lacks[:5]}"
