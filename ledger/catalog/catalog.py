"""Everything that was recorded, as SQL views: the archive's files and the live tail of the log.

What a newcomer would get wrong
    Each record is there once: the archive says up to where it holds a log, the tail is what the
    log has from there. Between looking at the one and the other an archivist may archive and
    trim; the first position of the tail tells, and then we look again.
    DuckDB never opens the log: two SQLite libraries in one process break each other's locks.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from ledger.archive.archivist import Log
from ledger.archive.errors import ArchiveForeign, ArchiveGap, ArchiveMissing
from ledger.archive.rows import LOGS
from ledger.archive.table import Table
from ledger.catalog.engine import Engine, View, views
from ledger.catalog.queries import Query, find, queries
from ledger.catalog.tail import FileTail, Tail
from ledger.closing import Closing

LOOKS_MAX = 20
"""So often an archivist may move the boundary while we look at it."""
MEMORY = "2GB"
"""What DuckDB may use before it spills to the temporary directory."""


class Catalog(Closing):
    """The views over the archive at `location`, the live `log`, or both.

    `storage_options` go to the object store; `first` is the log's first position. A log that is
    no file is given as its `tail` (`ledger.catalog.tail`).
    Raises ArchiveMissing (neither archive nor log), ArchiveForeign, ArchiveFailed.
    Use it in one thread at a time, and close it, or use it in `with`.
    """

    def __init__(
        self,
        location: str | Path | None,
        log: Log | None = None,
        *,
        tail: Tail | None = None,
        storage_options: dict[str, str] | None = None,
        memory: str = MEMORY,
        first: int = 1,
    ) -> None:
        self._location = location
        self._tail = FileTail(log, first) if log is not None else tail
        self._options, self._memory = storage_options, memory
        self._table: Table | None = None
        self._engine: Engine | None = None
        self._version = -1
        self._spill = tempfile.mkdtemp(prefix="ledger-sql-")
        try:
            self._refresh()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of files, memory and the temporary directory. Twice is fine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        shutil.rmtree(self._spill, ignore_errors=True)

    def sql(self, text: str, params: dict[str, Any] | None = None) -> pa.Table:
        """The answer to one select, over all that is recorded by now; `$name` takes a parameter.

        Raises SqlRefused for anything but one select, SqlFailed with DuckDB's words and the
        line, TailTooLong, and what the archive and the log raise.
        """
        return self._refresh().ask(text, params)

    def query(self, name: str, **params: Any) -> pa.Table:
        """The answer to `queries/<name>.sql`. Raises QueryUnknown, QueryWrong, and as `sql`."""
        question = find(name)
        return self.sql(question.sql, question.bind(params))

    @staticmethod
    def queries() -> dict[str, Query]:
        """Every query by name."""
        return queries()

    @staticmethod
    def views() -> dict[str, View]:
        """Every view by name, with its columns."""
        return views()

    def _refresh(self) -> Engine:
        """The engine over the newest version of the archive, with the newest tail."""
        for _ in range(LOOKS_MAX - 1):
            try:
                return self._look()
            except ArchiveGap:
                self._version = -1
        return self._look()

    def _look(self) -> Engine:
        self._open()
        version = -1 if self._table is None else self._table.version
        if self._engine is None or version != self._version:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            self._engine = Engine(self._sources(), self._spill, self._memory)
            self._version = version
            if self._tail is not None:
                self._tail.clear()
        if self._tail is not None:
            for name in LOGS:
                rows = self._tail.more(name, self._table)
                if rows is not None:
                    self._engine.tail(name, rows)
        return self._engine

    def _open(self) -> None:
        """Load the newest version of the archive, if there is one by now."""
        if self._table is not None:
            self._table.refresh()
            return
        try:
            if self._location is not None:
                self._table = Table.open(self._location, self._options)
        except ArchiveMissing:
            if self._tail is None:
                raise
        table, tail = self._table, self._tail
        if table is not None and tail is not None and table.log_id != tail.log_id:
            raise ArchiveForeign(table.location, table.log_id, tail.log_id)

    def _sources(self) -> dict[str, Any]:
        table = self._table
        if table is None:
            return {}
        if table.root is None:
            return dict.fromkeys(LOGS, table.dataset())
        return {log: table.local_paths(log) for log in LOGS}
