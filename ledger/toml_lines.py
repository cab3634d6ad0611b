"""Where each key of a TOML text stands: the line numbers that `tomllib` does not give.

The text must be valid TOML (`tomllib` has read it); this only finds the way again. A path is
the tuple of keys from the top, tables and values alike: `("run", "depth_max")`.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'')
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL
)
_PLAIN = re.compile(r"[^\s,\[\]{}#\"']+")


def lines(text: str) -> dict[Path, int]:
    """The line, from 1, on which each key first stands. Never raises on valid TOML."""
    return _Scan(text).found


class _Scan:
    """One walk over the text, from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.line = 1
        self.counted = 0
        self.found: dict[Path, int] = {}
        table: Path = ()
        while self._skip(_BLANK):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Go past `pattern`; False at the end of the text."""
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return self.at < len(self.text)

    def _note(self, path: Path) -> None:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        for end in range(1, len(path) + 1):
            self.found.setdefault(path[:end], self.line)

    def _header(self) -> Path:
        while self.text[self.at] in "[ \t":
            self.at += 1
        path = self._key()
        self._note(path)
        while self.at < len(self.text) and self.text[self.at] in "] \t":
            self.at += 1
        return path

    def _key(self) -> Path:
        """A dotted key, its quotes undone."""
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self.text, self.at)
            assert match is not None
            part = match.group()
            quoted = part[0] in "\"'"
            keys.append(next(iter(tomllib.loads(f"{part} = 0"))) if quoted else part)
            self.at = match.end()
            self._skip(_SPACE)
            if self.text[self.at : self.at + 1] != ".":
                return tuple(keys)
            self.at += 1

    def _pair(self, table: Path) -> None:
        path = table + self._key()
        self._note(path)
        self.at += 1  # The equals sign.
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        opened = self.text[self.at]
        if opened in "[{":
            self.at += 1
            self._inside(path, opened)
        else:
            string = _STRING.match(self.text, self.at)
            self._skip(_PLAIN if string is None else _STRING)
            if string is None:  # A date and its time may have one space between them.
                self._skip(re.compile(r" \d\d:\d\d[^\s,\]}]*"))

    def _inside(self, path: Path, opened: str) -> None:
        closing = "}" if opened == "{" else "]"
        while self._skip(_BLANK):
            if self.text[self.at] == closing:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
            elif opened == "{":
                self._pair(path)
            else:
                self._value(path)
