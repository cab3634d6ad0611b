"""A DuckDB that can read the archive's files and nothing else, and can change nothing.

What a newcomer would get wrong
    Whoever may ask in SQL may ask anything: to read a local file, write one, load an extension,
    change a setting, look at a Python variable. All of that is shut before the first question;
    each question runs in a transaction that is rolled back, so that it leaves no trace.
    The files are named one by one (`allowed_paths`): a directory would open all that is in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import duckdb
import pyarrow as pa

from ledger.archive.rows import COLUMNS, LOGS
from ledger.catalog.errors import SqlFailed, SqlRefused

_SHUT = """
set python_enable_replacements = false;
set autoinstall_known_extensions = false;
set autoload_known_extensions = false;
set allow_community_extensions = false;
set parquet_metadata_cache = true;
set enable_external_access = false;
set lock_configuration = true;
"""
_ANSWERED = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})

_FACTS = """
create macro _facts(kinds) as table
with firsts as (
    select *, case when grade = 'observed' then at_ms else append_ms end as clock_ms
    from _events
    where list_contains(kinds, type)
    qualify row_number() over (
        partition by run, source, seq, case when seq = 0 then "offset" end order by "offset") = 1)
select firsts.* from firsts
    anti join (select run, "offset" from _verdicts where refused is not null) impossible
    on firsts.run = impossible.run and firsts."offset" = impossible."offset"
"""
"""Events of these kinds that count: not sent twice, and not refused by the judge."""
_UNITS = """
create macro _units() as table
select ['spawns', 'tool_calls', 'model_calls', 'tokens', 'microdollars'] as _units
"""
# A view needs those before it.
VIEWS = (
    "events", "verdicts", "refused", "findings", "agents", "tool_calls", "model_calls", "handoffs",
    "budgets", "orders", "runs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """A view: what a row of it is, its columns with what they hold, its SQL."""

    name: str
    about: str
    columns: dict[str, str]
    sql: str


@cache
def views() -> dict[str, View]:
    """Every view, in the order in which they build on each other."""
    folder = resources.files("ledger.catalog") / "views"
    return {name: _view(name, (folder / f"{name}.sql").read_text("utf-8")) for name in VIEWS}


def _view(name: str, text: str) -> View:
    head = re.match(rf"-- {name}: (.*)\n((?:--   \w+: .*\n)+)", text)
    assert head
    columns = dict(re.findall(r"--   (\w+): (.*)\n", head[2]))
    return View(name, head[1], columns, text)


class Engine:
    """DuckDB over one version of the archive: `sources` gives where each log lies.

    A source is a list of local Parquet files, or a PyArrow dataset. `tail` is replaced at will.
    """

    def __init__(self, sources: dict[str, Sequence[str] | Any], spill: str, memory: str) -> None:
        self._duck = duckdb.connect(":memory:")
        self._duck.execute(f"set temp_directory = {_quote(spill)}")
        self._duck.execute(f"set memory_limit = {_quote(memory)}")
        paths = [path for source in sources.values() if isinstance(source, list) for path in source]
        self._duck.execute(f"set allowed_paths = [{', '.join(map(_quote, paths))}]")
        self._duck.execute(_SHUT)
        for log in LOGS:
            self.tail(log, None)
            self._duck.execute(self._base(log, sources.get(log)))
        for text in (_FACTS, _UNITS):
            self._duck.execute(text)
        for view in views().values():
            self._duck.execute(f"create view {view.name} as {view.sql}")

    def tail(self, log: str, rows: pa.Table | None) -> None:
        """What of a log is not archived, from now on."""
        empty = pa.table({name: pa.array([], kind) for name, (kind, _) in COLUMNS.items()})
        self._duck.register(f"_tail_{log}", empty if rows is None else rows)

    def ask(self, sql: str, params: dict[str, Any] | None = None) -> pa.Table:
        """The answer to one select. Raises SqlRefused for anything else, SqlFailed."""
        try:
            statements = self._duck.extract_statements(sql)
            if len(statements) != 1:
                raise SqlRefused(f"{len(statements)} statements")
            kind = statements[0].type
            if kind not in _ANSWERED:
                raise SqlRefused(kind.name.lower())
            self._duck.execute("begin")
            try:
                return self._duck.sql(sql, params=params or None).to_arrow_table()
            finally:
                self._duck.execute("rollback")
        except (duckdb.BinderException, duckdb.CatalogException) as problem:
            raise SqlFailed(self._placed(sql, params, problem)) from problem
        except duckdb.Error as problem:
            raise SqlFailed(str(problem)) from problem

    def _placed(self, sql: str, params: dict[str, Any] | None, problem: duckdb.Error) -> str:
        """What is wrong, with the place in the text, which only `execute` tells."""
        try:
            self._duck.execute(sql, params or None)
        except duckdb.Error as same:
            return str(same)
        return str(problem)

    def close(self) -> None:
        """Let go of files and memory."""
        self._duck.close()

    def _base(self, log: str, source: Any) -> str:
        """The view `_<log>`: archive and tail in one."""
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        # An archive of Kafka holds also what does not count; `type` says so.
        counts = "where type = 'verdict'" if log == "verdicts" else ""
        parts = [f"select {names} from _tail_{log}"]
        if isinstance(source, list) and source:
            files = ", ".join(map(_quote, source))
            parts.append(
                f"select {names} from read_parquet([{files}], hive_partitioning = true, "
                "hive_types = {'log': 'VARCHAR', 'partition': 'INTEGER'})"
            )
        elif source is not None and not isinstance(source, list):
            self._duck.register("_archived", source)
            parts.append(f"select {names} from _archived where log = {_quote(log)}")
        return f"create temp view _{log} as from ({' union all '.join(parts)}) {counts}"


def _quote(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"
