"""Asking the catalog: opening it, reading its answers, finding the run that a prefix means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.cli.place import NoLedger, Place
from ledger.cli.text import cut
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.catalog import Catalog

CANDIDATES_MAX = 6
"""Runs that are named where a prefix means more than one."""


class RunUnknown(LedgerError):
    """No run's id begins with `prefix`; `known` are some that there are."""

    def __init__(self, prefix: str, known: list[str]) -> None:
        super().__init__(prefix, known)
        self.prefix, self.known = prefix, known

    def __str__(self) -> str:
        there = f"; there are {', '.join(self.known)}" if self.known else "; there are none yet"
        return f"no run's id begins with {cut(self.prefix, 128)!r}{there} (`ledger runs` lists all)"


class RunAmbiguous(LedgerError):
    """More than one run's id begins with `prefix`: `found`."""

    def __init__(self, prefix: str, found: list[str]) -> None:
        super().__init__(prefix, found)
        self.prefix, self.found = prefix, found

    def __str__(self) -> str:
        more = ", …" if len(self.found) >= CANDIDATES_MAX else ""
        return f"{self.prefix!r} may mean {', '.join(self.found)}{more}; give more of the id"


@contextmanager
def catalog(place: Place) -> Iterator[Catalog]:
    """The catalog over the log, the archive, or both. Raises NoLedger where neither is there.

    Of a log on Kafka everything is there too: what is not archived is read from the brokers.
    """
    from ledger.catalog import Catalog

    if place.kafka:
        from ledger.catalog.tail import KafkaTail

        with place.open_kafka() as fleet, Catalog(place.archive, tail=KafkaTail(fleet)) as found:
            yield found
        return
    if not place.log.exists():
        if "://" not in place.archive and not Path(place.archive).exists():
            raise NoLedger(str(place.log))
        with Catalog(place.archive) as found:
            yield found
        return
    with place.open_file() as log, Catalog(place.archive, log) as found:
        yield found


def rows_of(answer: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of an Arrow table, a batch at a time."""
    for batch in answer.to_batches():
        yield from zip(*[column.to_pylist() for column in batch.columns], strict=True)


def dicts_of(answer: Any) -> list[dict[str, Any]]:
    """The rows of an Arrow table by column name."""
    names = answer.column_names
    return [dict(zip(names, row, strict=True)) for row in rows_of(answer)]


def pick(prefix: str, known: list[str]) -> str:
    """The one id that is `prefix` or begins with it. Raises RunUnknown, RunAmbiguous."""
    if prefix in known:
        return prefix
    found = [run for run in known if run.startswith(prefix)]
    if not found:
        raise RunUnknown(prefix, known[:CANDIDATES_MAX])
    if len(found) > 1:
        raise RunAmbiguous(prefix, found[:CANDIDATES_MAX])
    return found[0]


def find_run(opened: Catalog, prefix: str) -> str:
    """The run whose id is `prefix`, or the only one that begins so; `last` is the latest.

    Raises RunUnknown, RunAmbiguous.
    """
    if prefix == "last":
        latest = opened.sql("select run from runs order by started_ms desc nulls last limit 1")
        for (run,) in rows_of(latest):
            return str(run)
        raise RunUnknown("last", [])
    sql = "select run from runs where starts_with(run, $prefix) order by run limit $most"
    found = [run for (run,) in rows_of(opened.sql(sql, {"prefix": prefix, "most": 1_000}))]
    if not found:
        some = opened.sql("select run from runs order by started_ms desc nulls last limit 6")
        raise RunUnknown(prefix, [run for (run,) in rows_of(some)])
    return pick(prefix, found)
