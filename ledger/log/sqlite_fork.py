"""Closes what must not cross a fork, before every `os.fork`.

What a newcomer would get wrong
    A child that inherits a SQLite connection believes it holds its parent's locks, and so does
    every connection it opens anew, because SQLite keeps its locks per process in memory. So
    nothing may be open while the process is copied. `subprocess` does not come by here: what
    it starts shares no memory.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that can be put away for the moment of a fork."""

    def pause(self) -> None:
        """Before the fork."""

    def resume(self) -> None:
        """After it, in the parent."""

    def start_over(self) -> None:
        """After it, in the child."""


open_files: weakref.WeakSet[Forkable] = weakref.WeakSet()
"""What is put away."""
_forking = threading.Lock()
_pausing: list[Forkable] = []


def _before() -> None:
    _forking.acquire()
    while True:
        try:
            _pausing[:] = open_files
            break
        except RuntimeError:  # Another thread opened a log while we looked.
            continue
    for file in _pausing:
        file.pause()


def _after_in_parent() -> None:
    for file in _pausing:
        file.resume()
    _pausing.clear()
    _forking.release()


def _after_in_child() -> None:
    for file in _pausing:
        file.start_over()
    _pausing.clear()
    _forking.release()


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
