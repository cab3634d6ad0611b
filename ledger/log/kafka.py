"""The log of a fleet: Kafka topics behind what a client of the log in a file knows.

Where it is
    `kafka://host:9092,other:9092/prefix` is plain text, `kafkas://` is TLS; users, secrets and
    certificates stand in the URL or in `LEDGER_KAFKA_...` (see `kafka_place`).
What a newcomer would get wrong
    What `append` returned from is on all in-sync replicas. While brokers are away it raises, and
    goes on in the background: giving the same rows again waits for the same records. Nothing
    else is kept here, so what waits is bounded by the caller's queue.
    Each process has one thread and its own connections; a forked child begins anew.
    An offset is one of the run's partition, and the first is 0. Positions of orders are offsets
    of the control topic plus one; positions of verdicts count what this process heard.
    No process table spans machines, so `register_holder` does nothing here: what a dead process
    held of leases is forfeit when they expire, and counts as spent; its agents count as live
    until their run ends.
    Who judges is the fleet's business: no client starts a judge.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aiokafka.errors import KafkaError

from ledger.closing import Closing
from ledger.log import LogClosed, LogError, LogUnreachable
from ledger.log.kafka_bell import LocalBell
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_look import KafkaLook
from ledger.log.kafka_loop import keep_aside, loop_thread
from ledger.log.kafka_part import PAGE_RECORDS, KafkaPart
from ledger.log.kafka_place import place as place_of
from ledger.log.kafka_place import shown
from ledger.log.kafka_session import Session, look
from ledger.log.kafka_start import NotLetIn, unreachable
from ledger.log.kafka_topics import TopicsWrong
from ledger.log.rows import ControlRow, RefusedRow, Row, VerdictRow

if TYPE_CHECKING:
    from ledger.core.state import Run

CONNECT_S = 15.0
ASK_S = 15.0
APPEND_S = 1.0
"""How long `append` waits before it raises; what it was given goes on being sent."""
CLOSE_S = 8.0
KEEP_S = 30.0
"""A run is heard for so long after it was last followed."""
VERDICTS_WAITING_MAX = 20_000
"""Verdicts that nobody has taken; past it none is read."""
ORDERS_KEPT = 2_000
"""Orders kept in memory; older ones are read again where somebody asks."""

T = TypeVar("T")


class _Segment(NamedTuple):
    """Rows that are on their way, and their offsets once they have arrived."""

    rows: Sequence[tuple[str, bytes]]
    offsets: Future[list[int]]


class KafkaLog(Closing):
    """The log at a `kafka://` URL. Threads may share it; a fork may use it on both sides.

    Raises BadPlace for a URL that cannot be used, LogUnreachable where no broker answers, LogError
    where topics are missing or not as they must be.
    """

    _session: Session | None
    _under_way: list[_Segment]

    def __init__(self, url: str) -> None:
        self.path = shown(url)
        self.place = place_of(url)
        self._closed = False
        self._keys: dict[bytes, float] = {}
        self._hint = 0
        self._start_over()
        self.partitions, self._hint = self._ask(look(self.place), CONNECT_S)
        self._kept_from = self._hint
        self._running()
        _logs.add(self)

    def _start_over(self) -> None:
        """Begin without connections, without anything heard; orders are heard on from `_hint`."""
        self._session = None
        self._beginning = threading.Lock()
        self._appending = threading.Lock()
        self._following = threading.Lock()
        self._under_way = []
        self._said: deque[VerdictRow] = deque()
        self._heard = 0
        self._orders: deque[ControlRow] = deque()
        self._kept_from = self._hint
        self._bells: dict[tuple[str, str], LocalBell] = {}
        self._policies: dict[str, str] = {}
        self._policies_next = 0

    def close(self) -> None:
        """Let go of the connections. Twice is fine; a later use raises LogClosed."""
        self._closed = True
        session, self._session = self._session, None
        for segment in self._under_way:
            segment.offsets.cancel()
        if session is not None:
            try:
                loop_thread().call(session.close(), CLOSE_S)
            except TimeoutError:
                return  # They end with the process.

    # --- events ---

    def append(self, batch: Sequence[tuple[str, bytes]]) -> list[int]:
        """Put (run, value) pairs into the log, each run's in order; their offsets.

        On return all in-sync replicas have them. Raises LogUnreachable after a while; give the
        same again, and more behind it, to wait on. -1 is the offset of what no broker takes,
        which is in the refused log then, or of what a broker has forgotten the place of.
        """
        if not batch:
            return []
        session = self._running()
        with self._appending:
            segments = self._taken_up(batch)
            there = sum(len(segment.rows) for segment in segments)
            if there < len(batch):
                rest = batch[there:]
                after = segments[-1].offsets if segments else None
                sending = loop_thread().submit(session.append(rest, after))
                segments.append(_Segment(rest, sending))
        try:
            segments[-1].offsets.result(APPEND_S)
            return [offset for one in segments for offset in one.offsets.result()]
        except CancelledError:
            raise _closed(self.path) from None
        except BaseException as problem:
            self._under_way = segments
            if isinstance(problem, TimeoutError):
                why = session.sender.problem or session.verdicts.problem
                raise self._unreachable(why) from None
            raise

    def _taken_up(self, batch: Sequence[tuple[str, bytes]]) -> list[_Segment]:
        """What of this batch is on its way already, having been given before."""
        segments, self._under_way = self._under_way, []
        there = sum(len(segment.rows) for segment in segments)
        same = there <= len(batch) and bool(segments) and segments[0].rows[0][1] is batch[0][1]
        # What failed, and what waits behind it, is sent anew.
        return list(takewhile(_goes_on, segments)) if same else []

    def append_order(self, run: str, value: bytes) -> int:
        """Put an order into its run's partition and into the control topic; its offset in the
        first. When it raises, the order may be in force all the same."""
        return self._ask(self._running().order(run, value), ASK_S)

    def record_policy(self, digest: str, text: str, *, run: str, value: bytes) -> bool:
        """Keep a policy's text, having put `value` (its event, of `run`) into every partition;
        False where it was there."""
        if self.policy(digest) is not None:
            return False
        self._ask(self._running().record_policy(digest, text, run, value), ASK_S)
        self._policies[digest] = text
        return True

    def policy(self, digest: str) -> str | None:
        """The text of a recorded policy."""
        while digest not in self._policies:
            page = self._page("policies", self._policies_next, PAGE_RECORDS)
            if not page:
                return None
            for record in page:
                self._policies[record.key.decode()] = (record.value or b"").decode()
            self._policies_next = page[-1].offset + 1
        return self._policies[digest]

    def refuse(self, source: str, reason: str, value: bytes) -> int:
        """Keep bytes that are no event, with the reason; their position in the refused log."""
        return self._ask(self._running().refuse(source, reason, value), APPEND_S) + 1

    # --- looking back ---

    def part(self, number: int) -> KafkaPart:
        """Partition `number`, to be read from any place."""
        return KafkaPart(number, self._running, lambda work: self._ask(work, ASK_S))

    def part_of(self, run: str) -> KafkaPart:
        """The partition that this run lives in."""
        return self.part(partition_of(run.encode(), self.partitions))

    def parts(self) -> list[KafkaPart]:
        """All partitions."""
        return [self.part(number) for number in range(self.partitions)]

    def look(self) -> KafkaLook:
        """All of it at once."""
        return KafkaLook(self.place, self._running, lambda work: self._ask(work, ASK_S))

    def read_run(self, run: str, limit: int, *, after_offset: int = -1) -> list[Row]:
        """At most `limit` events of one run, in order. Scans its partition."""
        return self.part_of(run).read_run(run, limit, after_offset=after_offset)

    def refused(self, after_pos: int, limit: int) -> list[RefusedRow]:
        """At most `limit` refusals after `after_pos`, in order; 0 is before the first."""
        return [_refused(record) for record in self._page("refused", after_pos, limit)]

    def run_as_judged(self, run: str) -> Run | None:
        """The run as of the judge's last checkpoint, a second or two old; reads all of its
        partition's."""
        return self._ask(self._running().run_as_judged(run), ASK_S)

    # --- what is heard ---

    def follow(self, run: str) -> None:
        """From now on hear what is said of this run: its partition is read."""
        key = run.encode()
        with self._following:
            new = key not in self._keys
            self._keys[key] = time.monotonic()
        if new:
            verdicts = self._running().verdicts
            partition = partition_of(key, self.partitions)
            loop_thread().loop.call_soon_threadsafe(verdicts.want, partition)

    def still_follow(self, runs: Iterable[str]) -> None:
        """Only these need be heard. Others are forgotten after a while, and their partitions."""
        for run in runs:
            self.follow(run)
        now_s = time.monotonic()
        with self._following:
            old = [key for key, at_s in self._keys.items() if now_s - at_s > KEEP_S]
            for key in old:
                del self._keys[key]
        if old:
            loop_thread().loop.call_soon_threadsafe(self._running().verdicts.tidy)

    def verdicts(self, after_pos: int, limit: int) -> list[VerdictRow]:
        """At most `limit` verdicts on followed runs that were heard after `after_pos`; whoever
        asks has taken those before."""
        said = self._said
        while said and said[0].pos <= after_pos:
            said.popleft()
        return [said[place] for place in range(min(limit, len(said)))]

    def verdicts_end(self) -> int:
        """The position of the last verdict that was heard."""
        self._running()
        return self._heard

    def control(self, after_pos: int, limit: int) -> list[ControlRow]:
        """At most `limit` orders after `after_pos`, in order; 0 is before the first."""
        self._running()
        if after_pos >= self._kept_from:
            rows = [row for row in tuple(self._orders) if row.pos > after_pos]
            if after_pos >= self._kept_from:  # None was let go meanwhile.
                return rows[:limit]
        page = self._page("control", after_pos, limit)
        return [_order(record.offset, record.key, record.value) for record in page]

    def control_end(self) -> int:
        """The position of the last order that was heard."""
        return self._hint

    def control_hint(self) -> int:
        """`control_end()`, 0.1 µs."""
        if self._session is None:
            self._running()  # A forked child hears for itself.
        return self._hint

    # --- who is there, and who waits ---

    def register_holder(self, source: str) -> None:
        """Nothing: nobody can prove a process of another machine dead. Its leases expire."""

    def forget_holders(self, sources: Iterable[str]) -> None:
        """Nothing, likewise."""

    def bell(self, kind: str, source: str = "") -> LocalBell:
        """Something to wait on in this process: kind `client` is rung by verdicts and orders."""
        self._running()
        key = (kind, source)
        bell = self._bells[key] = LocalBell(lambda: self._bells.pop(key, None))
        return bell

    def ring(self, kind: str = "", source: str | None = None) -> int:
        """Wake waiters of this process: all, those of a kind, or one source of a kind."""
        rung = 0
        for (its_kind, its_source), bell in tuple(self._bells.items()):
            if kind in ("", its_kind) and source in (None, its_source):
                bell.ring()
                rung += 1
        return rung

    # --- the loop's side ---

    def _running(self) -> Session:
        session = self._session
        if session is not None:
            return session
        with self._beginning:
            if self._closed:
                raise _closed(self.path)
            if self._session is None:
                self._session = self._ask(self._begun(), ASK_S)
            return self._session

    async def _begun(self) -> Session:
        session = Session(
            self.place, self.partitions, self._keys, self._hear_verdict,
            lambda: len(self._said) > VERDICTS_WAITING_MAX,
        )  # fmt: skip
        session.hear_orders(self._hint, self._hear_order)
        for key in tuple(self._keys):
            session.verdicts.want(partition_of(key, self.partitions))
        return session

    def _hear_verdict(self, offset: int, key: bytes, value: bytes) -> None:
        pos = self._heard + 1
        self._said.append(VerdictRow(pos, offset, key.decode(errors="replace"), value))
        self._heard = pos
        self.ring("client")

    def _hear_order(self, offset: int, key: bytes, value: bytes) -> None:
        if len(self._orders) >= ORDERS_KEPT:
            self._kept_from = self._orders[0].pos
            self._orders.popleft()
        self._orders.append(_order(offset, key, value))
        self._hint = offset + 1
        if key in self._keys:
            self.ring("client")  # Others look when they next call.

    def _page(self, topic: str, begin: int, limit: int) -> list[Any]:
        return self._ask(self._running().past.page(topic, 0, begin, limit), ASK_S)

    def _ask(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """What the coroutine returns. Raises LogError."""
        try:
            return loop_thread().call(work, timeout_s)
        except TopicsWrong as wrong:
            said = "; ".join(one.partition("; create it")[0] for one in wrong.problems)
            remedy = "`ledger topics apply` creates what is missing"
            raise LogError(self.path, said, remedy) from None
        except (KafkaError, OSError) as problem:
            raise self._unreachable(problem) from None

    def _unreachable(self, problem: BaseException | None) -> LogUnreachable:
        found = unreachable(self.place, problem) if problem else None
        if isinstance(found, NotLetIn):
            return LogUnreachable(self.path, found.problem, found.remedy)
        why = f" ({found.problem})" if found else ""
        return LogUnreachable(
            self.path, f"the brokers do not answer{why:.300}",
            "see that they are up, and that address, user and rights are right",
        )  # fmt: skip


def _goes_on(segment: _Segment) -> bool:
    """Whether it is on its way, or there."""
    return not segment.offsets.done() or (
        not segment.offsets.cancelled() and segment.offsets.exception() is None
    )


def _closed(path: str) -> LogClosed:
    return LogClosed(path, "it was closed", "connect again to go on")


def _order(offset: int, key: bytes | None, value: bytes | None) -> ControlRow:
    return ControlRow(offset + 1, (key or b"").decode(errors="replace"), value or b"")


def _refused(record: Any) -> RefusedRow:
    said = {name: (text or b"").decode(errors="replace") for name, text in record.headers}
    offset = int(said["offset"]) if said.get("offset", "").isdecimal() else None
    return RefusedRow(
        record.offset + 1, record.timestamp, offset, said.get("source", ""),
        said.get("reason", ""), record.value or b"",
    )  # fmt: skip


_logs: weakref.WeakSet[KafkaLog] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for log in list(_logs):
        keep_aside(log._session, log._under_way)
        log._start_over()


os.register_at_fork(after_in_child=_after_fork_in_child)
