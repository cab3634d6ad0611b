"""The archivist of a fleet: gathers what the group gives it, and commits it to the archive.

What a newcomer would get wrong
    Where a partition stands is in the table and nowhere else: it is read on assignment, and again
    after every race that was lost. The group's offset is for people who watch the lag.
    Committing takes a thread of its own, so that chunks come in meanwhile and the group hears
    of us. What waits is bounded: a full gathering makes the feed wait.
    Two that both believe they own a partition write both; the table takes one (PROTOCOLS 11).
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from faust.types import TP

from ledger.archive.committer import Committer
from ledger.archive.compact import compact
from ledger.archive.errors import ArchiveFailed, ArchiveGap, LogRewound
from ledger.archive.rows import LOGS, LogName
from ledger.archive.segment import Segment, is_much
from ledger.errors import LedgerError
from ledger.log.kafka_identity import KafkaError, log_id
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_start import lacking
from ledger.log.kafka_topics import TopicsWrong
from ledger.log.kafka_unreadable import Unreadable
from ledger.topics import Topic

from .archivist_watch import Watch
from .holder import MARKS_MAX, Chunk, to_stderr
from .standing import standing
from .trimming import Trimming

T = TypeVar("T")

COMMIT_S = 2.0
"""Commits come so often where there is little; each is a file a partition until compaction."""
SETTLE_S = 4.0
"""A rebalance waits so long for a last commit; what is not committed by then is read again."""
STOP_S = 20.0
TELL_S = 2.0
COMPACT_EVERY = 32
"""Commits between two compactions."""
COMPACT_ROWS_MAX = 200_000
AGAIN_S = (0.2, 10.0)
"""How long to wait before the archive or the brokers are tried again."""
MENDED_S = 5.0
"""How often it is looked whether a partition that cannot be archived now can."""


class Archivist:
    """The `Holder` of every topic that is archived. `open` first.

    `rows`, `commits`, `conflicts`, `seeks`, `commit_s` (the last), `lag()`, `behind_ms()` are
    for whoever watches; `broken_partitions` says what is not archived, and why.
    """

    def __init__(
        self,
        place: Place,
        archive: str,
        topics: dict[str, Topic],
        *,
        storage_options: dict[str, str] | None = None,
        commit_every_s: float = COMMIT_S,
        keep_ms: int | None = None,
        say: Callable[[str], object] | None = None,
    ) -> None:
        self.place, self.archive = place, archive
        self._options = storage_options
        self._every_s = commit_every_s
        self._say = say or to_stderr("archivist")
        self._partitions = topics["events"].partitions
        names: tuple[LogName, ...] = (*LOGS, "control")
        self.logs: dict[str, LogName] = {place.topic(name): name for name in names}
        self.trimming = Trimming(place, {name: topics[name] for name in names}, keep_ms, self._say)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._committer: Committer | None = None
        self._held: dict[TP, Segment] = {}
        self._assigned: set[TP] = set()
        self._assignment = 0
        self._archived: dict[TP, tuple[int, int]] = {}
        self._untold: dict[TP, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._committing = asyncio.Lock()
        self._due, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._compacting: asyncio.Task[None] | None = None
        self.watch = Watch()
        self.broken_partitions: dict[TP, str] = {}
        self.rows = self.commits = self.seeks = self.lost = 0
        self.commit_s = 0.0
        self.read_again: Callable[[TP], None] = lambda tp: None
        self.settle: Callable[[dict[TP, int]], Awaitable[bool]] | None = None
        self.end: Callable[[TP], int | None] = lambda tp: None
        self.give_up: Callable[[LedgerError], None] = lambda problem: None
        self.cut_off: Callable[[], str] = str

    async def open(self) -> None:
        """Open the archive, or make it. Raises KafkaUnreachable, ArchiveForeign, ArchiveFailed."""
        log = await log_id(self.place)
        make = partial(
            Committer, self.archive, log, self._partitions, storage_options=self._options
        )
        self._committer = await self._in_thread(make)
        self._spawn(self._work())
        self._spawn(self.trimming.run(self._heads, self._clock_ms))

    @property
    def conflicts(self) -> int:
        """How often another archivist's commit came first."""
        return 0 if self._committer is None else self._committer.conflicts

    @property
    def held(self) -> dict[TP, int]:
        """The partitions that are archived here, each with the first position that is not yet."""
        return {tp: self._archived[tp][0] for tp in self._held}

    def lag(self) -> int:
        """Positions of these partitions that the log has and the archive has not."""
        return sum(self._lags().values())

    def _lags(self) -> dict[TP, int]:
        return {tp: max(0, (self.end(tp) or 0) - at) for tp, at in self.held.items()}

    def behind_ms(self, now_ms: int | None = None) -> int:
        """At most so old is the oldest record that is not archived; 0 when all are."""
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        behind = [
            now_ms - self._archived[tp][1]
            for tp, lag in self._lags().items()
            if self._archived[tp][1] and lag > (0 if self._held[tp].positions else MARKS_MAX)
        ]
        return max([0, *behind])

    async def take(self, tp: TP, chunk: Chunk) -> None:
        """Gather a chunk; what does not come next is skipped, or asked for again."""
        segment = self._held.get(tp)
        if segment is None:
            return
        if chunk.start > segment.next:
            self.seeks += 1
            self.read_again(tp)
            return
        self.broken_partitions.pop(tp, None)  # It could not be read, and now is.
        segment.take(chunk.records)
        if is_much(self._held.values()):
            self._due.set()
            self._room.clear()
            await self._room.wait()

    # --- what the transport asks (`holder.Holder`) ---

    def wants(self, tp: TP) -> int | None:
        """The next position; None while the partition is not held."""
        segment = self._held.get(tp)
        return None if segment is None else segment.next

    def broken(self, tp: TP, problem: Exception) -> None:
        """The log does not go on where we are: look again where the table stands."""
        if self._held.pop(tp, None) is not None:
            self.watch.wait({tp})
            self._spawn(self._hold({tp}))

    def unreadable(self, tp: TP, problem: Unreadable) -> None:
        """The partition stands, in our hands, until what comes next can be read or is gone."""
        if tp in self._held:
            self._stands(tp, problem)

    async def assigned(self, partitions: set[TP]) -> None:
        """Go on with these where the table stands."""
        self._assigned = {tp for tp in partitions if tp.topic in self.logs}
        self._assignment += 1
        self.broken_partitions.clear()
        self._drop(set(self._held) - self._assigned)
        self.watch.only(self._assigned)
        self.watch.wait(self._assigned - self._held.keys())
        self._spawn(self._hold(set(self._assigned)))

    async def revoked(self, partitions: set[TP], *, lost: bool) -> None:
        """Commit what there is of these and let go; nothing where others have them already."""
        self._assigned -= partitions
        if not lost:
            await self._last_commit(partitions, SETTLE_S)
        self._drop(partitions)
        self.watch.forget(partitions)

    async def stopping(self) -> None:
        """Commit everything, and let go."""
        self._assigned.clear()
        self.watch.joined = False
        await self._last_commit(set(self._held), STOP_S)
        self._drop(set(self._held))
        for task in self._tasks:
            task.cancel()
        self._thread.shutdown(wait=False)

    # --- taking partitions ---

    async def _hold(self, wanted: set[TP]) -> None:
        """Get these into our hands, however often that takes."""
        nap_s, longest_s = AGAIN_S
        assignment = self._assignment
        while assignment == self._assignment:  # Whoever hears of another takes all of it.
            todo = (wanted & self._assigned) - self._held.keys()
            if not todo:
                return
            try:
                async with Reader(self.place) as reader:
                    bounds = {tp: await reader.bounds(*tp) for tp in sorted(todo)}
                    await self._in_thread(self._table.refresh)  # Only now: see `standing`.
                    for tp, found in bounds.items():
                        await self._take_over(reader, tp, found)
                await asyncio.sleep(MENDED_S if todo - self._held.keys() else 0)
            except (ArchiveFailed, KafkaError, TopicsWrong) as problem:
                why = f"{lacking(self.place, problem) or problem!s:.300}"
                self.watch.failed(why)
                self._say(f"tried again in {nap_s:g} s: {why}")
                await asyncio.sleep(nap_s)
                nap_s = min(2 * nap_s, longest_s)

    async def _take_over(self, reader: Reader, tp: TP, bounds: tuple[int, int]) -> None:
        """Hold a partition, if the log goes on where the table stands."""
        assert self._committer is not None
        where = self.logs[tp.topic], tp.partition
        try:
            found = await standing(
                self.place, self._committer, self._in_thread, reader, where, bounds
            )
        except (ArchiveGap, LogRewound, Unreadable) as problem:
            if tp in self._assigned:
                self._stands(tp, problem)
            return
        if tp in self._assigned and tp not in self._held:
            self.broken_partitions.pop(tp, None)
            position = found.segment.next
            self._archived[tp] = position, found.append_ms
            self._untold[tp] = position
            self._held[tp] = found.segment
            self.watch.forget({tp})
            self.read_again(tp)

    def _stands(self, tp: TP, problem: Exception) -> None:
        said = f"partition {tp.partition} of {tp.topic} is not archived: {problem}"
        if self.broken_partitions.get(tp) != said:
            self.broken_partitions[tp] = said
            self._say(said)

    def _drop(self, partitions: set[TP]) -> None:
        for tp in partitions & self._held.keys():
            del self._held[tp]
            self._untold.pop(tp, None)
        self._room.set()

    # --- committing ---

    async def _work(self) -> None:
        """Commit when it is time, or enough is gathered; compact now and then."""
        compacted = 0
        shortest_s, longest_s = AGAIN_S
        nap_s = shortest_s
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), self._every_s)
            self._due.clear()
            if await self._commit(set(self._held)):
                nap_s = shortest_s
            else:
                await asyncio.sleep(nap_s)
                nap_s = min(2 * nap_s, longest_s)
            if late := self.watch.late(self.lag(), self.behind_ms()):
                self._say(late)
            if self.commits - compacted >= COMPACT_EVERY:
                compacted = self.commits
                if self._compacting is None or self._compacting.done():
                    self._compacting = self._spawn(self._compact())

    async def _commit(self, partitions: set[TP]) -> bool:
        """Commit what is gathered of these, in one commit; go on behind it meanwhile.

        False when the archive could not be written.
        """
        async with self._committing:
            chosen = {
                tp: segment
                for tp, segment in self._held.items()
                if tp in partitions and segment.positions
            }
            after = {tp: Segment(one.log, one.partition, one.next) for tp, one in chosen.items()}
            self._held |= after
            self._room.set()
            if not chosen:
                await self._tell()
                return True
            assert self._committer is not None
            began_s, fine = time.monotonic(), True
            self.watch.committing()
            try:
                done = await self._in_thread(partial(self._committer.commit, list(chosen.values())))
            except ArchiveFailed as problem:
                self._say(str(problem))
                self.watch.failed(str(problem))
                done, fine = [], False
            if fine:
                self.watch.committed()
            self.commit_s = time.monotonic() - began_s
            self._settled(chosen, after, {id(one) for one in done})
            await self._tell()
            return fine

    async def _tell(self) -> None:
        """Tell the group how far we are, again until it listens."""
        if not self._untold or self.settle is None:
            return
        told = dict(self._untold)
        with suppress(TimeoutError):
            if await asyncio.wait_for(self.settle(told), TELL_S):
                for tp in [tp for tp, at in told.items() if self._untold.get(tp) == at]:
                    del self._untold[tp]

    def _settled(self, chosen: dict[TP, Segment], after: dict[TP, Segment], done: set[int]) -> None:
        """Note what is archived now; start over where it was not us."""
        self.commits += bool(done)
        again: set[TP] = set()
        for tp, segment in chosen.items():
            if id(segment) in done:
                self.rows += len(segment.positions)
                if tp in self._held:
                    self._untold[tp] = segment.next
                    self._archived[tp] = segment.next, segment.append_ms[-1]
            elif self._held.get(tp) is after[tp]:
                self.lost += 1
                del self._held[tp]
                again.add(tp)
        if again:
            self.watch.wait(again)
            self._spawn(self._hold(again))

    async def _last_commit(self, partitions: set[TP], within_s: float) -> None:
        work = asyncio.create_task(self._commit(partitions))
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait_for(asyncio.shield(work), within_s)
        except TimeoutError:
            self._say(f"the last commit took more than {within_s:g} s; the next owner reads again")

    async def _compact(self) -> None:
        work = partial(
            compact, self.archive, storage_options=self._options, rows_max=COMPACT_ROWS_MAX
        )
        try:
            await asyncio.to_thread(work)
        except ArchiveFailed as problem:
            self._say(str(problem))

    # --- what Kafka need not keep ---

    async def _heads(self) -> dict[tuple[str, int], int]:
        """How far the table is with what is held: not what we remember, but what it says."""
        assert self._committer is not None
        await self._in_thread(self._table.refresh_durably)
        held = [(self.logs[tp.topic], tp.partition) for tp in self._held]
        return {where: self._committer.next(where) for where in held}

    def _clock_ms(self) -> int:
        """When the log took in the newest record that is archived here; 0: nobody knows."""
        return max([self._archived[tp][1] for tp in self._held], default=0)

    @property
    def _table(self) -> Any:
        assert self._committer is not None
        return self._committer.table

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(work), name="archivist")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Awaitable[None]) -> None:
        """A bug of ours ends the worker; the archive has what was committed."""
        try:
            await work
        except Exception as problem:
            self._say("".join(traceback.format_exception(problem)))
            self.give_up(LedgerError(f"the archivist failed: {problem!r}"))
