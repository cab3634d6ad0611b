"""Imports what other tools recorded: walks files, reads them, counts what came of it.

What a newcomer would get wrong
    Reading is pure: `import_paths` yields runs made of events, and writes nothing. Who calls it
    appends them to a log, and leaves out the runs that the log knows.
    A file that cannot be read is refused with its reason, and the others go on. Files that
    were never meant to be read (a licence beside the data) are skipped, and said.
    Memory is bounded by the largest file; of each run before, two integers are kept.

To add a format: a module with `SHAPE`, `recognises(document)` and a reader, and a line in FORMATS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ledger.core.fingerprint import exact
from ledger.errors import LedgerError
from ledger.importers import chat, langfuse, openai
from ledger.importers.files import FILE_BYTES_MAX, Document, documents, walk
from ledger.importers.imported import (
    ImportedRun,
    RefusedFile,
    Result,
    SkippedFile,
    WrongShape,
)
from ledger.wire import encode

__all__ = [
    "FILE_BYTES_MAX",
    "FORMATS",
    "ImportedRun",
    "RefusedFile",
    "Result",
    "SkippedFile",
    "Summary",
    "UnknownFormat",
    "WrongShape",
    "import_paths",
    "walk",
]

REFUSED_MAX = 1_000
REASONS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Format:
    """How to read one kind of foreign document."""

    read: Callable[..., Iterator[ImportedRun | RefusedFile]]
    recognises: Callable[[object], bool]
    about: str


FORMATS: dict[str, Format] = {
    "langfuse": Format(
        langfuse.read_langfuse, langfuse.recognises, "exports of Langfuse, one trace a file"
    ),
    "chat": Format(chat.read_chat, chat.recognises, "chat histories of agent teams (Who&When)"),
    "openai": Format(
        openai.read_openai, openai.recognises, "transcripts with tool calls (tau-bench)"
    ),
}
"""Every format that `ledger import` knows, by its name there."""


class UnknownFormat(LedgerError):
    """There is no importer of this name."""

    def __init__(self, format: str) -> None:
        super().__init__(format)
        self.format = format

    def __str__(self) -> str:
        return f"no importer for {self.format!r}; there are {', '.join(FORMATS)}"


def import_paths(
    format: str, paths: Iterable[Path | str], *, file_bytes_max: int = FILE_BYTES_MAX
) -> Iterator[Result]:
    """Read files and folders: one result a run, and one for each file or part that gave none.

    Files come in the order of the paths, within a folder by name. A run that comes again is
    skipped; the first counts. Raises UnknownFormat; never raises for what is in the files.
    """
    if format not in FORMATS:
        raise UnknownFormat(format)
    return _import(format, walk(paths), file_bytes_max)


def _import(
    format: str, found: Iterable[Path | RefusedFile | SkippedFile], file_bytes_max: int
) -> Iterator[Result]:
    known: dict[int, int] = {}
    for path in found:
        if not isinstance(path, Path):
            yield path
            continue
        for document in documents(path, file_bytes_max):
            if isinstance(document, RefusedFile):
                yield document
                continue
            for result in _read(format, document):
                yield _first(result, known) if isinstance(result, ImportedRun) else result


def _read(format: str, document: Document) -> Iterator[ImportedRun | RefusedFile]:
    """The runs of one document; where there are none, why, and which format it may be."""
    origin = document.origin
    try:
        for result in FORMATS[format].read(document.value, origin=origin):
            if isinstance(result, ImportedRun):
                result.place = document.within(result.place)
                yield result
            else:
                hint = _other_format(format, document.value)
                yield RefusedFile(origin, document.within(result.place), result.reason + hint)
    except RecursionError:
        yield RefusedFile(origin, document.within(""), "nested too deeply to be read")


def _other_format(format: str, document: object) -> str:
    sample = document[0] if isinstance(document, list) and document else document
    if FORMATS[format].recognises(sample):
        return ""
    fits = [name for name, other in FORMATS.items() if other.recognises(sample)]
    return f"; it looks like {fits[0]}" if fits else ""


def _first(run: ImportedRun, known: dict[int, int]) -> Result:
    """The run, unless one of its id came before."""
    key = exact(run.run)
    digest = exact(b"\n".join(encode(event) for event in run.events))
    if key not in known:
        known[key] = digest
        return run
    reason = "run read before" if known[key] == digest else "run read before, with other content"
    return SkippedFile(run.origin, reason, run.run)


@dataclass(slots=True)
class Summary:
    """What came of an import: add each result, then read the counts.

    `refused` names the first REFUSED_MAX of `refusals`; of reasons in `skipped` the first
    REASONS_MAX are told apart.
    """

    runs: int = 0
    agents: int = 0
    events: int = 0
    refusals: int = 0
    refused: list[RefusedFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count one result of `import_paths`."""
        if isinstance(result, ImportedRun):
            self.runs += 1
            self.agents += result.agents
            self.events += len(result.events)
            for reason, times in result.skipped.items():
                self._skip(reason, times)
        elif isinstance(result, RefusedFile):
            self.refusals += 1
            if self.refusals <= REFUSED_MAX:
                self.refused.append(result)
        else:
            self._skip(result.reason if result.run else f"file: {result.reason}", 1)

    def _skip(self, reason: str, times: int) -> None:
        if reason not in self.skipped and len(self.skipped) >= REASONS_MAX:
            reason = "for other reasons"
        self.skipped[reason] += times
