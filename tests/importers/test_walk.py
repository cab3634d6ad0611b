"""Files and folders: what is read, skipped or refused, and that nothing stops the rest."""

import json
import os
from pathlib import Path

import pytest

from ledger.importers import (
    ImportedRun,
    RefusedFile,
    SkippedFile,
    Summary,
    UnknownFormat,
    import_paths,
    walk,
)
from tests.importers.made import observation, trace

GOOD = {"history": [{"name": "A", "role": "user", "content": "hi"}]}


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def chat(text: str) -> object:
    return {"history": [{"name": "A", "role": "user", "content": text}]}


def summary(*paths: Path, format: str = "chat", **limits: int) -> Summary:
    told = Summary()
    for result in import_paths(format, paths, **limits):
        told.add(result)
    return told


def test_a_folder_is_walked_by_name(tmp_path: Path) -> None:
    """The same folder gives the same order on every machine."""
    for name in ("b.json", "a/z.JSON", "a/y.jsonl", "c.json"):
        write(tmp_path / name, chat(name))
    origins = [
        str(Path(found.origin).relative_to(tmp_path)) for found in import_paths("chat", [tmp_path])
    ]

    assert origins == ["a/y.jsonl", "a/z.JSON", "b.json", "c.json"]


def test_other_files_are_skipped_and_said(tmp_path: Path) -> None:
    """A licence beside the data is no broken trace."""
    write(tmp_path / "good.json", GOOD)
    for name in ("LICENSE", "README.md", ".DS_Store", ".git/config.json"):
        write(tmp_path / name, "x")
    told = summary(tmp_path)

    assert (told.runs, told.refusals) == (1, 0)
    assert told.skipped == {"file: neither .json nor .jsonl": 2, "file: hidden": 2}


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    """A link to a folder above would be walked for ever."""
    write(tmp_path / "in" / "good.json", GOOD)
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / "again.json").symlink_to(tmp_path / "in" / "good.json")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    told = summary(tmp_path)

    assert told.runs == 1
    assert told.skipped["file: read already under another name"] == 2
    assert [refused.reason for refused in told.refused] == ["too many levels of symbolic links"]


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    """Opening a pipe waits for its writer, for ever."""
    os.mkfifo(tmp_path / "pipe.json")
    told = summary(tmp_path, tmp_path / "missing.json", Path(os.devnull))

    assert [refused.reason for refused in told.refused] == [
        "not a regular file",
        "no such file or directory",
        "not a regular file",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"{", "no JSON"),
        (b"\x00\xff\xfe\x80binary", "no "),
        (b'{"history": "\xc3\x28"}', "no text: byte 0xc3 at 13"),
        (b'{"a":1}\n{"a":2}\n', "one document a line is read from files named .jsonl"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"history": [' + b"[" * 900 + b"]" * 900 + b"]}", "expected an object"),
        (b"1" * 5000, "no JSON"),
        (b"null", "found null"),
        (b"3", "found 3"),
        (b'"\\ud800"', "found the text"),
        (json.dumps(trace()).encode(), "it looks like langfuse"),
        (json.dumps([{"traj": [{"role": "user"}]}]).encode(), "it looks like openai"),
    ],
)
def test_a_broken_file_is_refused_and_the_others_go_on(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    """One file in a thousand is broken; the import must say which, and why, and go on."""
    (tmp_path / "broken.json").write_bytes(content)
    write(tmp_path / "good.json", GOOD)
    told = summary(tmp_path)

    assert (told.runs, told.refusals) == (1, 1)
    [refused] = told.refused
    assert refused.origin.endswith("broken.json")
    assert reason in refused.reason
    json.dumps(str(refused)).encode()


def test_nesting_of_any_depth_is_answered(tmp_path: Path) -> None:
    """At some depth a document parses and is too deep to look into: no depth may escape."""
    deep = tmp_path / "deep.jsonl"
    depths = range(500, 1200)
    line = json.dumps(trace(observation("t", "TOOL", 0, 1, input="@"), id="t@"))
    front, _, back = line.replace("t@", "t%d").partition('"@"')
    deep.write_text("\n".join(f"{front % n}{'[' * n}{']' * n}{back}" for n in depths))
    told = summary(deep, format="langfuse")

    assert told.runs + told.refusals == len(depths)
    assert {refused.reason for refused in told.refused} == {"nested too deeply to be read"}
    assert told.runs > 0


def test_encodings_of_windows_are_read(tmp_path: Path) -> None:
    """PowerShell writes UTF-16, and editors a byte order mark."""
    text = json.dumps(chat("naïve"), ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode("utf-8-sig"))
    (tmp_path / "b.json").write_bytes(text.encode("utf-16"))
    told = summary(tmp_path)

    assert (told.runs, told.refusals, told.skipped["run read before"]) == (1, 0, 1)


def test_lines_are_read_one_by_one(tmp_path: Path) -> None:
    """A line that is broken or too long costs only itself."""
    lines = [
        json.dumps(chat("a")),
        "",
        "{broken",
        json.dumps(chat("x" * 5000)),
        json.dumps([chat("b"), 7]),
    ]
    (tmp_path / "many.jsonl").write_text("\n".join(lines))
    told = summary(tmp_path, file_bytes_max=1000)

    assert told.runs == 2
    assert [refused.place for refused in told.refused] == [
        "line 3 column 2",
        "line 4",
        "line 5, $[1]",
    ]


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """What does not fit must not be tried: 8 GiB of zeros, of which 64 KiB are looked at."""
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(1 << 33)
    told = summary(huge, file_bytes_max=1 << 16)

    assert [refused.reason for refused in told.refused] == [
        "more than 65536 bytes; split it, or use JSON lines"
    ]


def test_a_run_comes_once(tmp_path: Path) -> None:
    """The same trace exported twice, and once more after it went on."""
    first = trace(observation("m", "GENERATION", 0, 1))
    later = trace(observation("m", "GENERATION", 0, 1), observation("n", "GENERATION", 1, 2))
    write(tmp_path / "a.json", first)
    write(tmp_path / "b.json", first)
    write(tmp_path / "c.json", later)
    results = list(import_paths("langfuse", [tmp_path]))

    assert [type(result) for result in results] == [ImportedRun, SkippedFile, SkippedFile]
    assert [getattr(result, "reason", "") for result in results[1:]] == [
        "run read before",
        "run read before, with other content",
    ]


def test_importing_again_gives_the_same_events(tmp_path: Path) -> None:
    """So that the ledger has heard them: a copy under another name adds nothing."""
    write(tmp_path / "a.json", GOOD)
    write(tmp_path / "b" / "copy.json", GOOD)
    [one] = import_paths("chat", [tmp_path / "a.json"])
    [other] = import_paths("chat", [tmp_path / "b"])

    assert isinstance(one, ImportedRun)
    assert isinstance(other, ImportedRun)
    assert one.events == other.events


def test_an_unknown_format_is_said_at_once() -> None:
    """Before anything is read, and with those there are."""
    with pytest.raises(UnknownFormat, match="there are langfuse, chat, openai"):
        import_paths("wandb", [])


def test_names_that_are_no_text_are_shown(tmp_path: Path) -> None:
    """File names are bytes; the refusal must still be printable."""
    bad = os.fsencode(tmp_path) + b"/\xff.json"
    Path(os.fsdecode(bad)).write_bytes(b"")
    told = summary(tmp_path)

    assert told.refusals == 1
    told.refused[0].origin.encode()


def test_a_summary_is_bounded() -> None:
    """A million broken files must not fill the memory with their reasons."""
    told = Summary()
    for number in range(3000):
        told.add(RefusedFile("f", "", "x"))
        told.add(SkippedFile("f", f"reason {number}"))

    assert (told.refusals, len(told.refused)) == (3000, 1000)
    assert len(told.skipped) == 1001
    assert sum(told.skipped.values()) == 3000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """A folder of another user."""
    write(tmp_path / "a.json", GOOD).chmod(0)
    told = summary(tmp_path)

    assert [refused.reason for refused in told.refused] == ["permission denied"]


def test_a_file_that_is_named_is_read_whatever_its_suffix(tmp_path: Path) -> None:
    """`ledger import chat download.txt` means that file."""
    path = write(tmp_path / "download.txt", GOOD)

    assert list(walk([path])) == [path]
    assert summary(path).runs == 1


def test_a_file_that_vanishes_is_refused(tmp_path: Path) -> None:
    """Between finding and reading, a log rotation."""
    first, second = (write(tmp_path / name, chat(name)) for name in ("a.json", "b.json"))
    results = import_paths("chat", [first, second])
    assert isinstance(next(results), ImportedRun)
    second.unlink()

    assert [getattr(result, "reason", "") for result in results] == ["no such file or directory"]
