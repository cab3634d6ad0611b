"""Chunks instead of messages: Faust's aiokafka driver, 60 times as fast, trusting it with less.

What a newcomer would get wrong
    A message is a `Chunk`: what was fetched of one partition, in order. Faust hands it to the
    agent like any message. It may lose chunks, repeat them, and deliver what was fetched before
    a rebalance (PROTOCOLS 6), so nobody trusts the feed: the `Holder` of the partition knows the
    next offset, and a partition is read only from where its holder wants to go on.
    Faust commits nothing. The holder's own transaction does.

The charter: all that is relied on in Faust 0.15.3, so that an upgrade fails a test and not a run
(`tests/test_transport_charter.py`)
    `_drain_messages` takes (tp, message) from `getmany(timeout)` and drops what is lower than
    `_read_offset[tp]`; so that is cleared before each chunk.
    `_wait_next_records` asks `_getmany(active partitions, timeout)` while `flow_active`.
    `_thread` is a `ServiceThread` whose `start` starts its `Worker`, and that runs `_serve`;
    `call_thread` runs a function for whoever is not in the thread (`thread.py`: there is none).
    The rebalance callbacks come on the main loop, through `on_partitions_revoked` and
    `on_partitions_assigned`; `app.stop` ends in the consumer's `on_stop`, aiokafka still there.
    `perform_seek` is how Faust goes back to committed offsets; `commit` how it commits;
    `ack` how it notes what is done; `verify_event_path` how it suspects a stalled partition;
    `on_buffer_full` how it stops reading one.
    `_create_worker_consumer` makes aiokafka's consumer; its two private fields set here are read
    in its `start`. `_fetch_records` hands out records from each partition's position on, without
    a hole; `_proc_fetch_request` puts them into `_records`, to be unpacked by `_consumer_record`.
    A `FetchResult` is emptied by `getall`, which `log/kafka_unreadable.py` does in its place.
    `broker_max_poll_interval` is aiokafka's own business, never sent, and ends the membership of
    who fetches nothing for so long.
    `_coordinator.generation` is -1 when the group has dropped this member, and
    `coordinator_id` is None while no broker answers for the group. Its `_pending_exception` keeps
    the group waiting until `check_errors`, which Faust never calls; it, `_coordination_task` and
    the fetcher's `_fetch_task` end only with the consumer (`_closed`). `_maybe_leave_group` tells
    the group that we are gone.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from ledger.log.kafka_reader import NoPlace, OutOfRange

from .holder import Holder
from .thread import ConsumerThread

LOOK_S = 0.1
"""A partition that is taken over begins to be read within this."""
REST_S = 5.0
"""How often it is tried to read what could not be read. The other partitions go on meanwhile."""
STALLED_S = 1.0
"""A chunk that its holder did not get within this was lost on the way."""


class Consumer(driver.Consumer):
    """Reads chunks from where `transport.holder` wants them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.holder: Holder = self.transport.holder  # type: ignore[attr-defined]
        self._reading = cast(ConsumerThread, self._thread)
        self._placed: set[TP] = set()
        self._moved: dict[TP, tuple[int, float]] = {}
        self._rests: dict[TP, float] = {}
        self.seeks = 0

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def read_again(self, tp: TP) -> None:
        """Read the partition from where its holder wants it, whatever was fetched."""
        self._placed.discard(tp)

    def cut_off(self) -> str:
        """Why the group does not hear of us; empty while it does."""
        return self._reading.cut_off()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109
        """(partition, message) for each chunk that was fetched."""
        generation = self.app.consumer_generation_id
        records, _ = await self._wait_next_records(min(timeout, LOOK_S))
        for tp, chunk in (records or {}).items():
            if self.should_stop or not self.flow_active:
                return
            if self.app.consumer_generation_id == generation:
                self._read_offset[tp] = None
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._message(tp, chunk)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        """Fetch of the partitions whose holder is ready, having moved the feed where needed."""
        ready, moves = set(), {}
        for tp in active_partitions or ():
            wanted = self.holder.wants(tp)
            if wanted is None or time.monotonic() < self._rests.get(tp, 0.0):
                continue
            ready.add(tp)
            if tp not in self._placed or self._stalled(tp, wanted):
                moves[tp] = wanted
        if moves:
            self._placed.update(moves)
            self.seeks += len(moves)
            await self._reading.call_thread(self._reading.move, moves)
        if not ready:
            await self.sleep(timeout)
            return {}
        try:
            found = await super()._getmany(ready, timeout)
            while self._reading.unreadable:
                problem = self._reading.unreadable.pop()
                tp = TP(problem.topic, problem.partition)
                self._rests[tp] = time.monotonic() + REST_S
                self.holder.unreadable(tp, problem)
            return found
        except OutOfRange as problem:
            for tp in map(TP._make, problem.args[0]):
                self._placed.discard(tp)  # It may go on behind what is gone.
                self.holder.broken(tp, problem)
        except NoPlace:
            self._placed.clear()
        return {}

    def _stalled(self, tp: TP, wanted: int) -> bool:
        """Whether something was fetched that never reached the holder."""
        now_s = time.monotonic()
        seen, since_s = self._moved.get(tp, (-1, 0.0))
        if wanted == seen and now_s - since_s <= STALLED_S:
            return False
        self._moved[tp] = (wanted, now_s)
        return wanted == seen and (self._reading.place(tp) or 0) > wanted

    def _message(self, tp: TP, chunk: Any) -> ConsumerMessage:
        last = chunk.records[-1]
        return ConsumerMessage(
            tp.topic, tp.partition, last.offset, last.timestamp / 1000.0, last.timestamp_type,
            None, None, chunk, None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: a full queue makes the loop wait. Faust would not look again for a second."""

    async def settle(self, offsets: dict[TP, int]) -> bool:
        """Tell the group how far its holder is; False where it does not listen."""
        told: bool = await self._reading.call_thread(self._reading.settle, offsets)
        return told

    # --- what Faust would do with offsets, and the holder does ---

    async def perform_seek(self) -> None:
        """Nothing: the feed is moved when the holder is ready."""

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Nothing: the holder commits."""
        return False

    def ack(self, message: Any) -> bool:
        """Forget the message."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: `_stalled` sees it, and acts."""

    # --- who has which partition ---

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop the flow, let the holder settle, then let Faust do its part."""
        self.stop_flow()
        await self.holder.revoked(set(revoked), lost=self._reading.dropped())
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Every partition is read anew: the group forgot where we were."""
        self._placed.clear()
        self._moved.clear()
        self._rests.clear()
        await self.holder.assigned(set(assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_stop(self) -> None:
        """Settle while the group still counts us in, and leave it whatever came of that."""
        self.stop_flow()
        try:
            await self.holder.stopping()
        finally:
            await super().on_stop()


class Transport(driver.Transport):
    """Faust's transport, with this consumer. `holder` must be set before the app starts."""

    Consumer = Consumer
    holder: Holder
