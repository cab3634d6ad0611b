"""One partition in the hands of its judge: folds chunks, says verdicts, writes checkpoints.

What a newcomer would get wrong
    Folding never waits: verdicts are put into an outbox that sends at once. So a piece of a
    chunk is folded whole or not at all, and nothing else sees a state between.
    Up to `decided` another judge has spoken: what it said is applied (PROTOCOLS 1), and only the
    side letters (orders to clients, refusals) are sent again, since it may have died before.
    A checkpoint is cut in slices and committed once all that was said up to its last slice is
    acknowledged: a run in it may be ahead of the marker, and never ahead of what was said.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, NamedTuple

from ledger.core.events import OrderGiven, Record, Ticked
from ledger.core.fold import next_deadline
from ledger.core.lifecycle import FOLD_VERSION, refused
from ledger.core.state import State
from ledger.core.verdicts import Verdict
from ledger.judge.checkpoint import MARKER, Checkpointer
from ledger.judge.checkpoint import Marker as Cut
from ledger.judge.memory import Memory
from ledger.judge.muting import Muting
from ledger.log.kafka_checkpoints import Checkpoints, NotOwner
from ledger.log.kafka_outbox import Letter, Outbox, Producers
from ledger.log.kafka_place import Place
from ledger.log.kafka_verdicts import Heard
from ledger.settings import mute_limits
from ledger.wire import encode, encode_verdict

from .marker import Marker, Proof, proof
from .pace import PATIENCE_ALL_S, SLICE_S, Pace, give_way
from .refusals import Refusals
from .said import NOT_KNOWN, Said

SOURCE = "judge"
"""The source of the events and orders that a judge writes."""
REASON_MAX = 2_048
UNHEARD_S = 30.0
"""What was said and is not acknowledged within this makes the partition start over."""
ROWS_AT_ONCE = 200
"""Of a checkpoint, sent together: a request costs as much as cutting ten."""


class FoldFailed(Exception):
    """Folding a record raised what it never should; the state may be half changed.

    Reading it may have, applying what was said of it, or deciding.
    """

    def __init__(self, offset: int, problem: Exception) -> None:
        at = traceback.extract_tb(problem.__traceback__)[-1]
        where = f"{at.filename.rpartition('/')[2]}:{at.lineno}"
        self.offset = offset
        self.reason = f"{type(problem).__name__} {problem} ({where})"
        super().__init__(offset, self.reason)

    def __str__(self) -> str:
        return f"the fold fails at offset {self.offset}: {self.reason}"


class PartitionMemory(Memory):
    """A judge's memory of one partition of Kafka, where the first offset is 0."""

    def __init__(self, partition: int) -> None:
        super().__init__()
        self.state = State(partition)
        self.next_offset = 0

    def sort_ended(self) -> None:
        """Whoever ended first is forgotten first, in whatever order checkpoints said it."""
        ended = self.state.ended
        self.state.ended = dict(sorted(ended.items(), key=lambda item: self.place.get(item[0], -1)))

    def watch(self) -> None:
        """Note the deadlines of all runs; once, after restoring."""
        for run in self.state.runs:
            self.deadlines.note(run, next_deadline(self.state, run))


class Boxes(NamedTuple):
    """Where a judge writes: each to its own topic."""

    verdicts: Outbox
    control: Outbox
    refused: Outbox
    events: Outbox

    def close(self) -> None:
        """Send nothing more."""
        for box in self:
            box.close()


class Shared:
    """What the partitions of one judge share: their topic, who sends, who may cut a slice, when to
    mute, the `archive`."""

    def __init__(self, place: Place, archive: str = "") -> None:
        self.topic, self.archive = place.topic("events"), archive
        self.producers, self.slicing, self.pace = Producers(place), asyncio.Lock(), Pace()
        self.mutes = mute_limits()


class Partition:
    """Partition `number` of `partitions`, restored. `held` until somebody calls `close`.

    `failing` (offset to reason) are records that made the fold fail before.
    """

    def __init__(
        self,
        number: int,
        *,
        partitions: int,
        memory: PartitionMemory,
        marker: Marker,
        said: Said,
        checkpoints: Checkpoints,
        boxes: Boxes,
        shared: Shared,
        sender: Any,
        failing: dict[int, str],
    ) -> None:
        self.number, self.memory, self.marker = number, memory, marker
        self.held, self.parked = True, False
        self.judged = 0
        self.checkpoint_s = self._writing_s = 0.0
        self.refusals = Refusals(
            shared.topic, number, partitions, known=memory.state.runs, put=boxes.refused.put,
            muting=Muting(shared.mutes),
        )  # fmt: skip
        self._said, self._decided = said, max(marker.decided, said.decided)
        self._checkpoints, self.boxes = checkpoints, boxes
        self._shared, self._sender = shared, sender
        self._failing = failing
        self._proof = marker.proof
        self._checkpointer = Checkpointer(memory, Cut(marker.offset))
        self._one_at_a_time = asyncio.Lock()
        self._lost: Exception | None = None
        self.fed_s = time.monotonic()

    @property
    def caught_up(self) -> bool:
        """Whether all that was decided before us is applied."""
        return self.memory.next_offset >= self._decided

    async def ready(self, records: Sequence[Any]) -> None:
        """Be ready to fold these records next: what others said of them is at hand, and there is
        room for what is to be said. Raises KafkaUnreachable, ArchiveFailed, OutboxFailed.
        """
        await self.boxes.verdicts.room()
        if self._decided == NOT_KNOWN:
            await self._said.ahead(records[-1].offset)
            self._decided = max(self.marker.decided, self._said.decided)

    def fold(self, records: Sequence[Any]) -> int:
        """Fold what is new of these records, once `ready`; how many. Raises FoldFailed.

        Whatever else is raised is no single record's doing.
        """
        memory = self.memory
        begin = memory.next_offset
        new = records
        if not new or new[0].offset < begin:
            new = [record for record in records if record.offset >= begin]
            if not new:
                return 0
        settled = begin >= self._decided and not self._failing
        read, judge = self.refusals.event, self._decide if settled else self._judge
        record = new[0]
        try:
            for record in new:
                event = read(record)
                if event is not None:
                    judge(Record(record.offset, record.timestamp, event))
        except Exception as problem:
            raise FoldFailed(record.offset, problem) from problem
        memory.advance(new[-1].offset + 1, new[-1].timestamp)
        if begin < self._decided <= memory.next_offset:
            memory.sort_ended()  # A tombstone may have been ahead of its checkpoint's marker.
        self._proof = proof(new[-1])
        self.judged += len(new)
        self.fed_s = self._shared.pace.folded_s = time.monotonic()
        return len(new)

    def tick(self, now_ms: int) -> None:
        """Append a tick for every run whose deadline has come (ms of the wall clock)."""
        for run in self.memory.due(now_ms):
            self.boxes.events.put(Letter(run.encode(), encode(Ticked(run=run, source=SOURCE))))

    def due(self) -> bool:
        """Whether a checkpoint should be written."""
        return self.held and self._checkpointer.due()

    def unheard_s(self) -> float:
        """For how long something waits to be acknowledged: what was said, or a checkpoint."""
        writing_s = time.monotonic() - self._writing_s if self._writing_s else 0.0
        return max(writing_s, *(box.waiting_s for box in self.boxes))

    def failure(self) -> BaseException | None:
        """Why nothing more can be said; None while all is well."""
        failures = (self._lost, *(box.failure for box in self.boxes))
        return next((failure for failure in failures if failure is not None), None)

    async def settle(self) -> None:
        """Return when all that was said is acknowledged. Raises OutboxFailed."""
        for mark in self._marks():
            await mark

    async def checkpoint(self) -> None:
        """Write what has changed. Raises NotOwner, OutboxFailed: then close, and start over.

        Who waits may be cancelled; the checkpoint is not, because half of one cannot go on.
        """
        await _whole(self._checkpoint())

    async def close(self) -> None:
        """Forget all. What was not acknowledged may or may not be in the log."""
        if not self.held:
            return
        self.held, failed = False, any(box.failure is not None for box in self.boxes)
        self.boxes.close()
        await let_go(self._checkpoints, self._shared.producers, self._sender, failed=failed)

    # --- fold ---

    def _judge(self, record: Record) -> None:
        offset = record.offset
        if offset < self._decided:
            verdict = self._said.of(offset)
            self.memory.apply(record, verdict)
            if offset < self._said.whole_from:
                self._give_up(record)
            if verdict is not None:
                self._order(verdict)
            return
        if offset in self._failing:
            verdict = self._failed(record)
            self.memory.apply(record, verdict)
            self._say(verdict)
        else:
            self._decide(record)

    def _decide(self, record: Record) -> None:
        """Judge an event that nobody has judged, and of which nothing is known."""
        verdict = self.memory.judge(record)
        if verdict is not None:
            self._say(verdict)

    def _say(self, verdict: Verdict) -> None:
        verdict.generation = self.marker.generation
        self.boxes.verdicts.put(Letter(verdict.run.encode(), encode_verdict(verdict)))
        self._order(verdict)

    def _give_up(self, record: Record) -> None:
        """Let the run that begins here count as ended: what it was granted is not known."""
        run = self.memory.state.runs.get(record.event.run)
        if run is not None and run.offset == record.offset:
            self.memory.give_up(run.id)

    def _failed(self, record: Record) -> Verdict:
        reason = f"the judge failed on it: {self._failing[record.offset]}"[:REASON_MAX]
        return refused(self.memory.state, record, reason)

    def _order(self, verdict: Verdict) -> None:
        """Orders that a rule gave go to every client."""
        for order in verdict.orders:
            given = OrderGiven(
                run=verdict.run, agent=order.agent, source=SOURCE, at_ms=verdict.at_ms,
                order=order.order, action=order.action, scope=order.scope,
                reason=order.reason[:REASON_MAX], by=SOURCE,
            )  # fmt: skip
            self.boxes.control.put(Letter(verdict.run.encode(), encode(given)))

    # --- checkpoint ---

    def _marks(self) -> list[Awaitable[int]]:
        return [box.mark() for box in (self.boxes.verdicts, self.boxes.control, self.boxes.refused)]

    async def _checkpoint(self) -> None:
        async with self._one_at_a_time:
            if self._lost is not None:
                raise self._lost
            began_s = self._writing_s = time.monotonic()
            try:
                await self._write_checkpoint()
            except Exception as problem:
                self._lost = problem
                raise
            finally:
                self._writing_s = 0.0
            self.checkpoint_s = time.monotonic() - began_s

    async def _write_checkpoint(self) -> None:
        memory, cutting = self.memory, self._checkpointer
        cutting.begin(0)
        marker = self.marker._replace(
            offset=memory.next_offset, version=FOLD_VERSION, proof=Proof(*self._proof)
        )
        heard = None if self.caught_up else self._said.place
        said, spent_s, patience_s = self.boxes.verdicts.mark(), 0.0, PATIENCE_ALL_S
        marks, decided = self._marks(), memory.next_offset
        rows: dict[str, bytes | None] = {}
        while cutting.busy:
            async with self._shared.slicing:
                patience_s -= await self._shared.pace.gap(patience_s)
                began_s = time.monotonic()
                rows |= cutting.slice(SLICE_S)
                spent_s += time.monotonic() - began_s
                marks, decided = self._marks(), memory.next_offset
                await give_way()
            if len(rows) >= ROWS_AT_ONCE:
                rows.pop(MARKER, None)
                await self._checkpoints.write(rows)
                rows.clear()
        await _acknowledged([said, *marks])
        heard = heard or Heard(said.result(), marker.generation)
        marker = marker._replace(pos=heard.pos, heard=heard.generation, decided=decided)
        await self._checkpoints.write({**rows, MARKER: marker.row()})
        await self._checkpoints.commit(marker.offset, marker.note())
        self.marker = marker
        cutting.written({MARKER: b""}, spent_s)


async def _acknowledged(marks: Sequence[Awaitable[int]]) -> None:
    """Return when all that the marks stand for is. Raises OutboxFailed; NotOwner after a while."""
    try:
        async with asyncio.timeout(UNHEARD_S):
            for mark in marks:
                await mark
    except TimeoutError:
        raise NotOwner(f"what was said is not acknowledged within {UNHEARD_S:g} s") from None


async def let_go(
    checkpoints: Checkpoints, producers: Producers, sender: Any, *, failed: bool
) -> None:
    """Close these, and give `sender` back, if there is one.

    Who waits may be cancelled; it is done all the same, as nobody would come back to it.
    """

    async def work() -> None:
        await checkpoints.close()
        if sender is not None:
            await producers.give_back(sender, failed=failed)

    await _whole(work())


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Do all of it, though who waits for it may be cancelled."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)
