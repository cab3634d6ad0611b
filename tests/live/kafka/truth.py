"""What a log on Kafka says, worked out the slow, obvious way: a fold of everything in it."""

from dataclasses import dataclass, field, replace

from ledger.core.codec import dump_run
from ledger.core.events import PolicyRecorded, Record
from ledger.core.fold import apply_published, fold
from ledger.core.state import State
from ledger.core.verdicts import Verdict
from ledger.judge.checkpoint import MARKER, POLICY
from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_verdicts import Published
from ledger.processors.marker import Marker
from ledger.wire import UnreadableEvent, decode


@dataclass
class Truth:
    """Of one partition before `end`: runs as bytes, who ended, verdicts, offsets refused."""

    end: int = 0
    repeated: int = 0
    runs: dict[str, bytes] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)


async def folded(
    place: Place, partition: int, partitions: int, end: int,
    said: dict[int, Verdict] | None = None,
) -> Truth:  # fmt: skip
    """By folding the events topic up to `end` with nothing but the core.

    With `said`, the verdicts by offset, nothing is decided: what was said is applied.
    """
    truth, state = Truth(end), State(partition)
    topic = place.topic("events")
    async with Reader(place) as reader:
        async for records in reader.read(topic, partition, 0, truth.end):
            for record in records:
                try:
                    event = decode(record.value)
                    home = partition_of(record.key, partitions)
                    if event.run.encode() != record.key or (
                        home != partition and not isinstance(event, PolicyRecorded)
                    ):
                        raise UnreadableEvent("not here")
                except UnreadableEvent:
                    truth.refused.add(record.offset)
                    continue
                row = Record(record.offset, record.timestamp, event)
                if said is None:
                    verdict = fold(state, row)
                else:
                    verdict = said.get(record.offset)
                    apply_published(state, row, verdict)
                if verdict is not None:
                    truth.verdicts[record.offset] = verdict
    truth.runs = {run: dump_run(held) for run, held in state.runs.items()}
    truth.ended = set(state.ended)
    return truth


async def kept(place: Place, group: str, partition: int) -> Truth:
    """By reading checkpoints, verdicts and refusals, as the judges left them."""
    truth = Truth()
    for key, row in (await Checkpoints(place, group, partition).load()).items():
        if key == MARKER:
            truth.end = Marker.of(row).offset
        elif key.startswith(POLICY):
            continue
        elif row.startswith(b"{"):
            truth.ended.add(key)
        else:
            truth.runs[key] = row
    async with Reader(place) as reader:
        topic = place.topic("verdicts")
        begin, end = await reader.bounds(topic, partition)
        rule = Published()
        async for records in reader.read(topic, partition, begin, end):
            for record in records:
                verdict = rule.take(record.key, record.value)
                if verdict is not None:
                    assert verdict.offset not in truth.verdicts
                    truth.verdicts[verdict.offset] = replace(verdict, generation=0)
        truth.repeated = rule.ignored
        topic = place.topic("refused")
        _, end = await reader.bounds(topic, 0)
        async for records in reader.read(topic, 0, 0, end):
            for record in records:
                headers = dict(record.headers)
                if headers["partition"] == str(partition).encode():
                    truth.refused.add(int(headers["offset"]))
    return truth
