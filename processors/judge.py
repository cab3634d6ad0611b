"""The judge of a fleet: holds the partitions that the group gives it, each restored and fenced.

What a newcomer would get wrong
    The group says who shall judge a partition; being able to commit says who does. So whatever
    goes wrong with a partition (fenced, a verdict that could not be written, a fold that failed)
    has one answer: drop what is known of it and take it over again.
    A rebalance gives most partitions back to whom they were taken from. They are settled, parked
    with their memory, and go on if a checkpoint still works, which only an owner's does.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from faust.types import TP

from ledger.errors import LedgerError
from ledger.log import JudgeTooOld
from ledger.log.kafka_checkpoints import NotOwner
from ledger.log.kafka_identity import KafkaError
from ledger.log.kafka_outbox import OutboxFailed
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import OutOfRange
from ledger.log.kafka_start import lacking, unreachable
from ledger.log.kafka_unreadable import Unreadable

from .holder import Chunk, to_stderr
from .pace import give_way, piece_records
from .partition import FoldFailed, Partition, Shared
from .takeover import take_over

BEAT_S = 0.05
"""How often ticks and checkpoints are looked at."""
IDLE_S = 0.05
"""A partition that got nothing for this long has read all; only then are deadlines looked at."""
TICKS_LATE_S = 1.0
"""... or, under load, after this long."""
SETTLE_S = 4.0
"""Settling may take so long; past it others have waited enough, and restore from before."""
AGAIN_S = (0.1, 2.0)
MENDED_S = 5.0
"""How often it is looked whether a partition that cannot be judged now can."""
FAILING_MAX = 100
"""So many records may make the fold fail before the partition is given up."""
EACH_TIME = "so it does each time: a bug of the ledger, please report it"
TOO_MANY = f"so it did {FAILING_MAX} times before: a bug of the ledger, please report it"
LOST = (NotOwner, OutboxFailed, OutOfRange)
"""Somebody else has the partition, or what was being read of the log was trimmed."""
Work = Callable[..., Coroutine[Any, Any, None]]


class Judge:
    """The `Holder` of the events topic: judges what it is assigned of `partitions`.

    What Kafka no longer has is looked for in the archive at `archive`, if there is one.
    """

    def __init__(
        self,
        place: Place,
        group: str,
        partitions: int,
        *,
        archive: str = "",
        say: Callable[[str], object] | None = None,
    ) -> None:
        self._place, self._group, self.partitions = place, group, partitions
        self._topic = place.topic("events")
        self._say = say or to_stderr("judge")
        self._held: dict[int, Partition] = {}
        self._shared = Shared(place, archive)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._assigned: set[int] = set()
        self._failing: dict[int, dict[int, str]] = {}
        self.broken_partitions: dict[int, str] = {}
        self.read_again: Callable[[TP], None] = lambda tp: None
        self.give_up: Callable[[LedgerError], None] = lambda problem: None
        self.cut_off: Callable[[], str] = str
        self.judged = self.skipped = self.seeks = self.taken_over = self.lost = 0
        self.take_over_s = 0.0
        self.joined = False
        self._refused_before = self._muted_before = 0

    @property
    def held(self) -> dict[int, Partition]:
        """The partitions that are judged now, by number."""
        return {number: one for number, one in self._held.items() if not one.parked}

    @property
    def assigned_partitions(self) -> frozenset[int]:
        """The partitions that the group gave us, whether they are judged yet or not."""
        return frozenset(self._assigned)

    @property
    def refused(self) -> int:
        """Records that were no event."""
        return self._refused_before + sum([one.refusals.count for one in self._held.values()])

    @property
    def muted(self) -> int:
        """Of these so many were not copied, because their source was muted."""
        return self._muted_before + sum([one.refusals.muted for one in self._held.values()])

    async def judge(self, tp: TP, chunk: Chunk) -> None:
        """Fold a chunk, in pieces; what is not what should come next is skipped or asked again."""
        partition = self._held.get(tp.partition)
        if tp.topic != self._topic or partition is None:
            return
        try:
            await self._judge(partition, tp, chunk)
        except Exception as problem:
            await self._failed(tp.partition, problem)  # Faust would go on without a word.

    async def _judge(self, partition: Partition, tp: TP, chunk: Chunk) -> None:
        if chunk.start > partition.memory.next_offset:
            self.seeks += 1
            self.read_again(tp)
            return
        self.broken_partitions.pop(tp.partition, None)  # It could not be read, and now is.
        at_once = piece_records(len(chunk.records))
        for begin in range(0, len(chunk.records), at_once):
            await give_way(first=not begin)
            piece = chunk.records[begin : begin + at_once]
            try:
                await partition.ready(piece)
            except (LedgerError, OutboxFailed) as problem:
                if partition.held:  # Else somebody was faster.
                    await self._start_over(partition, _why(problem))
                return
            if partition.parked or not partition.held:
                return
            try:
                new = partition.fold(piece)
            except FoldFailed as failed:
                await self._fold_failed(partition, failed)
                return
            self.judged += new
            self.skipped += len(piece) - new

    # --- what the transport asks (`holder.Holder`) ---

    def wants(self, tp: TP) -> int | None:
        """The next offset; None while the partition is not held."""
        partition = self._held.get(tp.partition)
        if tp.topic != self._topic or partition is None or partition.parked:
            return None
        return partition.memory.next_offset

    def broken(self, tp: TP, problem: Exception) -> None:
        """The log does not go on where we are: looked at again, from the checkpoint."""
        partition = self._held.get(tp.partition)
        if partition is not None:
            self._spawn(tp.partition, self._start_over, partition, str(problem))

    def unreadable(self, tp: TP, problem: Unreadable) -> None:
        """The partition stands, in our hands, until what comes next can be read or is gone."""
        if tp.partition in self._held and self.broken_partitions.get(tp.partition) != str(problem):
            self.broken_partitions[tp.partition] = str(problem)
            self._say(str(problem))

    async def assigned(self, partitions: set[TP]) -> None:
        """Drop what others have now, take over what is new, go on with what stayed."""
        self._assigned = {tp.partition for tp in partitions if tp.topic == self._topic}
        self.broken_partitions.clear()
        self.joined = True
        gone = [one for number, one in self._held.items() if number not in self._assigned]
        await asyncio.gather(*(self._drop(one) for one in gone))
        for number in self._assigned:
            self._spawn(number, self._hold, number)

    async def revoked(self, partitions: set[TP], *, lost: bool) -> None:
        """Settle and park; drop without a word where others have them already."""
        numbers = {tp.partition for tp in partitions if tp.topic == self._topic}
        self._assigned -= numbers
        self._cancel(numbers)
        ours = [one for number, one in self._held.items() if number in numbers]
        await asyncio.gather(*(self._drop(one) if lost else self._park(one) for one in ours))

    async def stopping(self) -> None:
        """Settle everything and let go."""
        self.joined = False
        self._assigned.clear()
        self._cancel(set(self._tasks))
        ours = list(self._held.values())
        await asyncio.gather(*(self._park(one) for one in ours))
        await asyncio.gather(*(self._drop(one) for one in ours))

    # --- one partition ---

    async def _hold(self, number: int) -> None:
        """Get the partition into our hands, however often that takes, and look after it."""
        said = ""
        nap_s, longest_s = AGAIN_S
        parked = self._held.get(number)
        if parked is not None:
            await self._revive(parked)
        while number in self._assigned:
            try:
                if number not in self._held:
                    await self._take(number)
                await self._look_after(self._held[number])
                return
            except LOST as problem:
                self.lost += 1
                if (why := _why(problem)) != said:
                    self._say(f"partition {number} is taken over again: {why}")
                    said = why
                await self._drop(self._held.get(number))
                await asyncio.sleep(nap_s)
                nap_s = min(2 * nap_s, longest_s)
            except JudgeTooOld as problem:
                self.give_up(problem)
                return
            except LedgerError as problem:
                await self._stand_by(number, str(problem))

    async def _take(self, number: int) -> None:
        began_s = time.monotonic()
        failing = self._failing.setdefault(number, {})
        try:
            partition = await take_over(
                self._place, self._group, number, partitions=self.partitions, failing=failing,
                shared=self._shared,
            )  # fmt: skip
        except FoldFailed as failed:
            self._refuse_next_time(number, failed)
            raise OutboxFailed(failed) from failed
        except Exception as problem:
            if refusal := lacking(self._place, problem):
                raise refusal from None
            if isinstance(problem, KafkaError | OSError) and not isinstance(problem, OutOfRange):
                raise unreachable(self._place, problem) from None
            raise
        if number not in self._assigned or self._tasks.get(number) is not asyncio.current_task():
            # Cancelled, which asyncio's `wait_for` forgets where both come at once (Python 3.11).
            await partition.close()
            raise asyncio.CancelledError
        self.judged += partition.judged
        self._held[number] = partition
        self.broken_partitions.pop(number, None)
        self.taken_over += 1
        self.take_over_s = time.monotonic() - began_s

    async def _stand_by(self, number: int, problem: str) -> None:
        """Say what is wrong, and look again soon: a person may have mended it."""
        if self.broken_partitions.get(number) != problem:
            self._say(problem)
        self.broken_partitions[number] = problem
        await asyncio.sleep(MENDED_S)

    async def _revive(self, partition: Partition) -> None:
        """Go on with what was parked, if we are still the owner."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await partition.checkpoint()
            partition.parked = False
        except (*LOST, TimeoutError):
            await self._drop(partition)

    async def _look_after(self, partition: Partition) -> None:
        """Ticks and checkpoints, until the partition is somebody else's business."""
        ticked_s = time.monotonic()
        while partition.held and not partition.parked:
            await asyncio.sleep(BEAT_S)
            failure = partition.failure()
            if failure is not None:
                raise OutboxFailed(failure)
            now_s = time.monotonic()
            idle = now_s - partition.fed_s > IDLE_S
            stands = partition.number in self.broken_partitions  # It would not read its own ticks.
            if partition.caught_up and not stands and (idle or now_s - ticked_s > TICKS_LATE_S):
                partition.tick(time.time_ns() // 1_000_000)
                ticked_s = now_s
            if partition.due():
                await partition.checkpoint()

    async def _park(self, partition: Partition) -> None:
        partition.parked = True
        try:
            async with asyncio.timeout(SETTLE_S):
                await partition.settle()
                await partition.checkpoint()
        except (*LOST, TimeoutError) as problem:
            if partition.held:  # Else it was let go of meanwhile: the worker ends.
                self._say(f"partition {partition.number} is not settled: {_why(problem)}")
            await self._drop(partition)
        except Exception as problem:
            await self._failed(partition.number, problem)

    async def _start_over(self, partition: Partition, why: str) -> None:
        """Forget the partition, and take it over as if it came from another."""
        self._say(f"partition {partition.number} is taken over again: {why}")
        number = partition.number
        task = self._tasks.get(number)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        await self._drop(partition)
        if number in self._assigned:
            self._spawn(number, self._hold, number)

    async def _failed(self, number: int, problem: Exception) -> None:
        """A bug of ours. Whoever judges next may not have it: leave the partition."""
        self._say("".join(traceback.format_exception(problem)))
        try:
            await self._drop(self._held.get(number))
        except Exception as again:
            self._say("".join(traceback.format_exception(again)))
        self.give_up(LedgerError(f"partition {number}: {problem!r}"))

    async def _fold_failed(self, partition: Partition, failed: FoldFailed) -> None:
        """The state may be half changed: nobody may go on with it."""
        try:
            self._refuse_next_time(partition.number, failed)
        except FoldFailed:
            await self._drop(partition)
            again = failed.offset in self._failing.get(partition.number, ())
            why = EACH_TIME if again else TOO_MANY
            self.give_up(LedgerError(f"partition {partition.number}: {failed}; {why}"))
            return
        await self._start_over(partition, failed.reason)

    async def _drop(self, partition: Partition | None) -> None:
        if partition is None:
            return
        if self._held.get(partition.number) is partition:
            del self._held[partition.number]
            self._refused_before += partition.refusals.count
            self._muted_before += partition.refusals.muted
        await partition.close()

    def _refuse_next_time(self, number: int, failed: FoldFailed) -> None:
        failing = self._failing.setdefault(number, {})
        if failed.offset in failing or len(failing) >= FAILING_MAX:
            raise failed  # What failed again cannot be refused: it would be folded for ever.
        failing[failed.offset] = failed.reason

    def _spawn(self, number: int, work: Work, *given: Any) -> None:
        task = self._tasks.get(number)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        guarded = self._guarded(number, work, *given)
        self._tasks[number] = asyncio.create_task(guarded, name=f"judge of partition {number}")

    async def _guarded(self, number: int, work: Work, *given: Any) -> None:
        """Else the task would be gone without a word, the partition parked or nobody's."""
        try:
            await work(*given)
        except Exception as problem:
            await self._failed(number, problem)

    def _cancel(self, numbers: set[int]) -> None:
        for number in numbers:
            task = self._tasks.pop(number, None)
            if task is not None:
                task.cancel()


def _why(problem: BaseException) -> str:
    return f"{problem!s:.300}" or type(problem).__name__
