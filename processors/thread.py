"""What Faust calls the consumer's thread: fetches chunks, and says exactly where each begins.

What a newcomer would get wrong
    There is no thread. Two in one interpreter hand it to each other at every read and write of a
    socket, and whoever folds keeps it for 5 ms: verdicts took three times as long. On the app's
    own loop a fetch is a call. Nothing there may take long, or the group hears no heartbeat.
    A lost chunk is only noticed if the next one's beginning is true. So it is asked for here,
    right before the fetch, where nothing comes between, and not remembered anywhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import maybe_async

from ledger.errors import LedgerError
from ledger.log.kafka_identity import KafkaError
from ledger.log.kafka_start import lacking
from ledger.log.kafka_unreadable import Unreadable, name_unreadable, on_fetched

from .holder import CUT_OFF, NO_MEMBER, Chunk

FETCH_WAIT_MS = 100
"""How long a broker holds a fetch that finds nothing. One record ends the wait."""
LEAVE_S = 2.0
"""Leaving is one request; nobody waits longer for it."""
LISTEN_S = 1.0
"""How often it is looked whether aiokafka has given up."""
NO_GENERATION = -1
"""The generation of who is no member of the group."""


class SameLoop:
    """In place of a thread: runs the service on the loop that starts it."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.get_running_loop().create_task(self._service._serve())

    def stop(self) -> None:
        """Nothing: who stops the service has waited for its end."""


def lighten(fetcher: Any) -> None:
    """Let this fetcher hand records out as they were parsed, without a copy of topic, partition
    and sizes each: the copy and its end are a tenth of what a judge does.
    """

    def prepare(tp: Any, result: Any) -> None:
        if result._partition_records is not None:  # None: all was handed out.
            result._partition_records._consumer_record = _as_it_is

    on_fetched(fetcher, prepare)


def _as_it_is(tp: Any, record: Any) -> Any:
    return record


def given_up(consumer: Any) -> BaseException | None:
    """Why aiokafka does nothing more for this consumer; None while it does.

    It tells whoever fetches, and Faust does not ask. Until somebody has heard it, the group is
    left alone.
    """
    if consumer._closed:
        return None
    coordinator = consumer._coordinator
    problem: BaseException | None = coordinator._pending_exception
    for task in (coordinator._coordination_task, consumer._fetcher._fetch_task):
        if problem is None and task.done():
            problem = asyncio.CancelledError() if task.cancelled() else task.exception()
            problem = problem or EOFError("a task of aiokafka's has ended")
    return problem


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka as Faust runs it, but on the app's loop, and never deciding where to read."""

    def __init__(self, consumer: Any, *, loop: asyncio.AbstractEventLoop, beacon: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, Worker=SameLoop, beacon=beacon)
        self.unreadable: list[Unreadable] = []

    async def on_start(self) -> None:
        """Start the consumer, and listen to what it says of itself."""
        await super().on_start()
        lighten(fetcher := self._ensure_consumer()._fetcher)
        name_unreadable(fetcher, self.unreadable.append)
        self.add_future(self.listen())

    async def on_thread_stop(self) -> None:
        """Stop the consumer, and leave the group whatever comes of that.

        In the middle of a rebalance Faust ends what aiokafka waits for, which ends its stopping:
        the group would wait for us until the session is over.
        """
        try:
            await super().on_thread_stop()
        finally:
            coordinator = getattr(self._consumer, "_coordinator", None)
            if coordinator is not None and coordinator.generation != NO_GENERATION:
                with suppress(KafkaError, OSError, TimeoutError):
                    async with asyncio.timeout(LEAVE_S):
                        await coordinator._maybe_leave_group()

    async def listen(self) -> None:
        """Give the worker up where aiokafka has given up the group, or the fetching."""
        app: Any = self.consumer.app
        while not self.should_stop:
            problem = given_up(self._ensure_consumer())
            if problem is not None:
                why = lacking(app.place, problem) or repr(problem)
                app.give_up(LedgerError(f"it cannot go on with its group: {why}"))
                return
            await self.sleep(LISTEN_S)

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call it; wait for it where it is a coroutine function."""
        return await maybe_async(fun(*args, **kwargs))

    async def _gather_remaining_tasks(self) -> None:
        """Nothing: the loop's other tasks are not ours."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        # Faust's spinner has every debug line written for it: a fortieth of a judge's time.
        logging.getLogger("aiokafka").setLevel(logging.WARNING)
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._auto_offset_reset = "none"
        return consumer

    async def _fetch_records(  # type: ignore[override]
        self, consumer: Any, active_partitions: set[TP], **how: Any
    ) -> dict[TP, Chunk]:
        # Where each partition stands is asked here, where nothing comes between.
        starts = {tp: self.place(tp) for tp in active_partitions}
        assignment = consumer._subscription.subscription.assignment
        found = await super()._fetch_records(consumer, active_partitions, **how)
        if consumer._subscription.subscription.assignment is not assignment:
            return {}  # Another place, of another assignment.
        chunks = {TP(*tp): records for tp, records in found.items()}
        return {
            tp: Chunk(start, records)
            for tp, records in chunks.items()
            if (start := starts[tp]) is not None
        }

    async def move(self, places: dict[TP, int]) -> None:
        """Go on from these offsets. Runs in the thread."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for tp, offset in places.items():
            if tp in assigned:
                consumer.seek(tp, offset)

    async def settle(self, offsets: dict[TP, int]) -> bool:
        """Commit these to the group, for people who watch it; False where it does not listen."""
        consumer = self._ensure_consumer()
        ours = {tp: offsets[TP(*tp)] for tp in consumer.assignment() if TP(*tp) in offsets}
        with suppress(KafkaError):
            await consumer.commit(ours)
            return True
        return False

    def place(self, tp: TP) -> int | None:
        """The offset that is fetched next; None when nobody knows yet."""
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        if assignment is None or tp not in assignment.tps:
            return None
        state = assignment.state_value(tp)
        return state.position if state.has_valid_position else None

    def dropped(self) -> bool:
        """Whether the group has already given our partitions to others."""
        return bool(self._ensure_consumer()._coordinator.generation == NO_GENERATION)

    def cut_off(self) -> str:
        """Why the group does not hear of us: no broker that coordinates it is known, or none any
        more, or it has no place for us; empty where it does."""
        coordinator = getattr(self._consumer, "_coordinator", None)
        if coordinator is None or coordinator.coordinator_id is None:
            return CUT_OFF
        return NO_MEMBER if self.dropped() else ""
