"""What was fetched and cannot be read: named by its place, behind all that can.

What a newcomer would get wrong
    A broker checks no header and no compressed batch. aiokafka parses them where records are
    handed out, names neither partition nor offset, and loses what it parsed before.
    What is behind such a record cannot be read either: nobody knows where the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from ledger.errors import LedgerError


class Unreadable(LedgerError):
    """Nothing can be read of a partition from this offset on."""

    def __init__(self, topic: str, partition: int, offset: int, problem: str) -> None:
        super().__init__(topic, partition, offset, problem)
        self.topic, self.partition, self.offset, self.problem = topic, partition, offset, problem

    def __str__(self) -> str:
        return (
            f"partition {self.partition} of {self.topic} cannot be read from offset {self.offset} "
            f"on: {self.problem:.200}"
        )


def on_fetched(fetcher: Any, prepare: Callable[[Any, Any], None]) -> None:
    """Call `prepare(partition, result)` for what this fetcher of aiokafka has to hand out, each
    time that it fetched."""
    fetch = fetcher._proc_fetch_request

    async def fetch_and_prepare(*how: Any) -> Any:
        found = await fetch(*how)
        for tp, result in fetcher._records.items():
            if hasattr(result, "getall"):  # An error has none.
                prepare(tp, result)
        return found

    fetcher._proc_fetch_request = fetch_and_prepare


def name_unreadable(fetcher: Any, tell: Callable[[Unreadable], None]) -> None:
    """Let this fetcher of aiokafka hand out all that can be read, and `tell` what cannot.

    It is told as often as it is fetched; what `tell` raises, whoever fetches gets.
    """

    def prepare(tp: Any, result: Any) -> None:
        result.getall = partial(_readable, tp, result, tell)

    on_fetched(fetcher, prepare)


def _readable(
    tp: Any, result: Any, tell: Callable[[Unreadable], None], max_records: int | None = None
) -> list[Any]:
    """As `FetchResult.getall`, up to what cannot be read; that is told when it is the next."""
    if not result.check_assignment(tp) or not result.has_more():
        return []
    records, found = result._partition_records, list[Any]()
    try:
        found.extend(islice(records, max_records))  # It keeps what came before an error.
    except Exception as problem:
        if not found:
            tell(Unreadable(tp.topic, tp.partition, records.next_fetch_offset, repr(problem)))
            return []
    result._update_position()
    if max_records is None or len(found) < max_records:
        result._partition_records = None
    return found
