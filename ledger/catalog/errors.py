"""What goes wrong when somebody asks: each names the thing, shows the value, says what to do."""

from __future__ import annotations

import re

from ledger.errors import LedgerError

_AT = re.compile(r"^LINE (\d+):.*$", re.MULTILINE)


class SqlFailed(LedgerError):
    """DuckDB could not answer; `problem` is what it says, with the place marked in the text.

    `line` is the line of the question (1 is the first), 0 where DuckDB names none.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        found = _AT.search(problem)
        self.line = int(found.group(1)) if found else 0

    def __str__(self) -> str:
        return self.problem


class SqlRefused(LedgerError):
    """The catalog answers one question at a time and changes nothing; `kind` is what it got."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"the catalog is read only and takes one select at a time, not {self.kind}"


class TailTooLong(LedgerError):
    """More of the log is not archived than the catalog reads into memory."""

    def __init__(self, log: str, rows: int, rows_max: int) -> None:
        super().__init__(log, rows, rows_max)
        self.log, self.rows, self.rows_max = log, rows, rows_max

    def __str__(self) -> str:
        return (
            f"{self.rows} {self.log} are not archived yet, {self.rows_max} at most are read from "
            "the log itself; archive first: `ledger up` does, and `ledger archive now`; "
            "or name the archive that has them (--archive)"
        )


class QueryUnknown(LedgerError):
    """There is no query of this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        return f"no query {self.name!r}; there are: {', '.join(self.known)}"


class QueryWrong(LedgerError):
    """A parameter that the query does not have, or lacks; or a query file without its header."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return f"query {self.name}: {self.problem}"
