"""Finds the files of an import and reads them: JSON documents whole, JSON lines one by one."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ledger.importers.imported import RefusedFile, SkippedFile, parse

FILE_BYTES_MAX = 256 * 1024 * 1024
"""A larger JSON file, or a longer line of JSON lines, is refused: it is read into memory whole."""

_SUFFIXES = (".json", ".jsonl")


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON value, and where it came from; `line` 0: it is the whole file."""

    origin: str
    value: object
    line: int = 0

    def within(self, place: str) -> str:
        """A place in this document as a place in its file."""
        return ", ".join(filter(None, (f"line {self.line}" if self.line else "", place)))


# --- finding -----------------------------------------------------------------------------------


def walk(paths: Iterable[Path | str]) -> Iterator[Path | RefusedFile | SkippedFile]:
    """Every file to read, and why others are not; a file reached twice comes once.

    Folders are walked by name, through links too, but never round in a circle. A file that is
    named itself is read whatever its suffix.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        yield from _visit(Path(path), seen, named=True)


def _visit(
    path: Path, seen: set[tuple[int, int]], *, named: bool
) -> Iterator[Path | RefusedFile | SkippedFile]:
    waiting = [(path, named)]
    while waiting:
        at, named = waiting.pop()
        try:
            info = at.stat()
            folder = stat.S_ISDIR(info.st_mode)
            inside = sorted(os.listdir(at), reverse=True) if folder else []
        except (OSError, ValueError) as problem:
            yield RefusedFile(_shown(at), "", _why(problem))
            continue
        identity = (info.st_dev, info.st_ino)
        if not named and at.name.startswith("."):
            yield SkippedFile(_shown(at), "hidden")
        elif identity in seen:
            yield SkippedFile(_shown(at), "read already under another name")
        elif folder:
            seen.add(identity)
            waiting += [(at / name, False) for name in inside]
        elif not stat.S_ISREG(info.st_mode):
            yield RefusedFile(_shown(at), "", "not a regular file")
        elif not named and at.suffix.lower() not in _SUFFIXES:
            yield SkippedFile(_shown(at), "neither .json nor .jsonl")
        else:
            seen.add(identity)
            yield at


def _shown(path: Path) -> str:
    """A path as text that can be printed and written as JSON, whatever bytes are in it."""
    return os.fsencode(path).decode("utf-8", "replace")


def _why(problem: OSError | ValueError) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror.lower()
    return str(problem)


# --- reading -----------------------------------------------------------------------------------


def documents(path: Path, bytes_max: int) -> Iterator[Document | RefusedFile]:
    """The JSON values of a file: one, or one a line where its name ends in .jsonl."""
    origin = _shown(path)
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".jsonl":
                yield from _lines(file, origin, bytes_max)
            else:
                yield _whole(file, origin, bytes_max)
    except OSError as problem:
        yield RefusedFile(origin, "", _why(problem))


def _whole(file: BinaryIO, origin: str, bytes_max: int) -> Document | RefusedFile:
    text = file.read(bytes_max + 1)
    if len(text) > bytes_max:
        return RefusedFile(origin, "", f"more than {bytes_max} bytes; split it, or use JSON lines")
    if not text.strip():
        return RefusedFile(origin, "", "empty")
    return _parse(text, origin, 0)


def _lines(file: BinaryIO, origin: str, bytes_max: int) -> Iterator[Document | RefusedFile]:
    number, found = 0, False
    while text := file.readline(bytes_max + 1):
        number += 1
        if len(text) > bytes_max:
            found = True
            yield RefusedFile(origin, f"line {number}", f"more than {bytes_max} bytes")
            while text and not text.endswith(b"\n"):
                text = file.readline(bytes_max)
        elif text.strip():
            found = True
            yield _parse(text, origin, number)
    if not found:
        yield RefusedFile(origin, "", "empty")


def _parse(text: bytes, origin: str, line: int) -> Document | RefusedFile:
    place = f"line {line}" if line else ""
    try:
        return Document(origin, parse(text), line)
    except UnicodeDecodeError as problem:
        reason = f"no text: byte 0x{problem.object[problem.start]:02x} at {problem.start}"
    except json.JSONDecodeError as problem:
        place = f"line {line or problem.lineno} column {problem.colno}"
        reason = f"no JSON: {problem.msg}"
        if problem.msg == "Extra data" and not line:
            reason += "; one document a line is read from files named .jsonl"
    except RecursionError:
        reason = "nested too deeply to be read"
    except ValueError as problem:
        reason = f"no JSON: {problem}"
    return RefusedFile(origin, place, reason)
