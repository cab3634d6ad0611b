"""What goes wrong with an archive: each names the thing, shows the value, says what to do."""

from __future__ import annotations

import re

from ledger.errors import LedgerError

WORDS_MAX = 300
"""So many characters of somebody else's error are passed on."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def short(problem: BaseException) -> str:
    """An error's words in one line of at most WORDS_MAX characters, without colours."""
    text = " ".join(_COLOUR.sub("", str(problem)).split())
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 3] + "..."


class ArchiveMissing(LedgerError):
    """There is no archive at `location`."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location

    def __str__(self) -> str:
        return f"no archive at {self.location}; `ledger up` makes one, or name another"


class ArchiveForeign(LedgerError):
    """The archive at `location` holds another log than the one at hand."""

    def __init__(self, location: str, archived: str, log_id: str) -> None:
        super().__init__(location, archived, log_id)
        self.location, self.archived, self.log_id = location, archived, log_id

    def __str__(self) -> str:
        held = f"log {self.archived}" if self.archived else "something that is no ledger archive"
        return (
            f"the archive at {self.location} holds {held}, not this log ({self.log_id}); "
            "move it away or name another archive"
        )


class ArchiveFailed(LedgerError):
    """The archive at `location` could not be read or written; `problem` says why."""

    def __init__(self, location: str, problem: str) -> None:
        super().__init__(location, problem)
        self.location, self.problem = location, problem

    def __str__(self) -> str:
        return f"archive {self.location}: {self.problem}; nothing committed is lost, try again"


class ArchiveGap(LedgerError):
    """The log no longer holds what the archive needs next; `partition` None: a log in a file."""

    def __init__(self, log: str, expected: int, found: int, partition: int | None = None) -> None:
        super().__init__(log, expected, found, partition)
        self.log, self.expected, self.found, self.partition = log, expected, found, partition

    def __str__(self) -> str:
        gap = f"from {self.expected}, but the log begins at {self.found}"
        if self.partition is None:
            return (
                f"the archive needs {self.log} {gap}: {self.found - self.expected} records were "
                "trimmed before they were archived here; name the archive that has them (--archive)"
            )
        topic = "" if self.log == "events" else f"--topic {self.log} "
        begin = ", begin it behind that: `ledger archive begin --reason ...`"
        return (
            f"the archive needs {self.log} of partition {self.partition} {gap}; name the archive "
            f"that has what is between (--archive){'' if self.expected else begin}, or go on "
            f"without: `ledger topics accept-loss {self.partition} {self.expected} "
            f"{self.found - 1} {topic}--reason ...`"
        )


class LogRewound(LedgerError):
    """What the archive holds at `position` is not what the log has there, or not any more."""

    def __init__(self, log: str, position: int) -> None:
        super().__init__(log, position)
        self.log, self.position = log, position

    def __str__(self) -> str:
        return (
            f"the archive holds {self.log} {self.position}, and the log has another record there "
            "or none: it was put back from an older copy; archive it elsewhere"
        )
