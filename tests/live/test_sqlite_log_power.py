"""Power cuts, played from a record of every write and sync: what was acknowledged is there.

`kill -9` does not show it: what a killed process wrote stays in the system's memory. Here the
machine's memory is lost too. Of what was not synced yet any part may have reached the disk, in
pieces of a sector, in any combination, as disks do.
"""

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from ledger.log import LogError
from ledger.log.sqlite import SqliteLog

pytestmark = pytest.mark.live

HEAD = struct.Struct("<IIQQ")
WRITE, TRUNCATE, SYNC, MARK = range(1, 5)
SECTOR = 512
VERDICT = 1 << 62
RECORDER = Path(__file__).with_suffix(".c")

WORKLOAD = """if True:
    import ctypes, sys
    from ledger.log.sqlite import SqliteLog
    from tests.live.test_sqlite_log_power import VERDICT, value
    mark = ctypes.CDLL(None).ledger_mark
    mark.argtypes = [ctypes.c_uint64]
    me = int(sys.argv[2])
    with SqliteLog(sys.argv[1]) as log:
        epoch = log.take_judgeship("judge", 1, 0) if me == 0 else None
        for n in range(60):
            batch = [("run", value(me, n))] * (1 + n % 4)
            for offset in log.append(batch):
                mark(offset << 16 | me << 8 | n)
            if epoch and n % 3 == 0:
                first, end = log.judge().next_offset, log.end()
                verdicts = [(k, "run", b"%d" % k) for k in range(first, end)]
                states = {f"run-{n % 5}": b"s" * 3000} if n % 2 else None
                assert log.commit_judged(epoch, end, verdicts=verdicts, checkpoints=states)
                mark(VERDICT | log.verdicts_end())
            if n % 7 == me:
                log.tidy(wal_pages=10)
"""


def value(writer: int, number: int) -> bytes:
    """What writer 0 or 1 appends as its batch `number`: told from all others, some pages long."""
    return b"%d/%d " % (writer, number) + b"x" * (200 * (number % 13))


@dataclass
class Disk:
    """Two files as a disk holds them: what is safe, and what was written since the last sync."""

    safe: dict[int, bytearray] = field(default_factory=lambda: {1: bytearray(), 2: bytearray()})
    loose: dict[int, list[tuple[int, int, bytes]]] = field(default_factory=lambda: {1: [], 2: []})

    def sync(self, file: int) -> None:
        for kind, at, data in self.loose[file]:
            _apply(self.safe[file], kind, at, data)
        self.loose[file].clear()

    def after_power_cut(self, chance: random.Random) -> dict[int, bytes]:
        """What the disk may hold: all that is safe, and of the rest whatever chance wants."""
        found = {}
        for file, safe in self.safe.items():
            image = bytearray(safe)
            for kind, at, data in self.loose[file]:
                fate = chance.random()
                if fate < 0.4:
                    continue
                sectors = range(0, max(1, len(data)), SECTOR)
                for start in sectors:
                    if fate < 0.7 or chance.random() < 0.5:
                        _apply(image, kind, at + start, data[start : start + SECTOR])
            found[file] = bytes(image)
        return found


def _apply(image: bytearray, kind: int, at: int, data: bytes) -> None:
    if kind == TRUNCATE:
        image[at:] = b"\0" * max(0, at - len(image))
        return
    if len(image) < at:
        image.extend(bytes(at - len(image)))
    image[at : at + len(data)] = data


def records(trace: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind, file, offset, data) of each record."""
    position = 0
    while position < len(trace):
        kind, file, offset, length = HEAD.unpack_from(trace, position)
        position += HEAD.size
        size = length if kind == WRITE else 0
        yield kind, file, offset, trace[position : position + size]
        position += size


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What two processes wrote, synced and were told is safe."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("recording what reaches the disk needs a C compiler")
    folder = tmp_path_factory.mktemp("power")
    library = folder / "recorder.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, RECORDER, "-ldl"], check=True
    )
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "LEDGER_TRACE": str(folder / "trace"),
    }
    path = str(folder / "ledger.db")
    SqliteLog(path).close()  # Made outside the record: the first image is this file, synced.
    start = Path(path).read_bytes()
    writers = [
        subprocess.Popen([sys.executable, "-c", WORKLOAD, path, str(n)], env=environment)
        for n in range(2)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    whole = HEAD.pack(WRITE, 1, 0, len(start)) + start + HEAD.pack(SYNC, 1, 0, 0)
    return whole + (folder / "trace").read_bytes()


def check(folder: Path, disk: dict[int, bytes], acked: dict[int, bytes], verdicts: int) -> str:
    """What is wrong with the log that is found after a power cut; empty when all is well."""
    path = folder / "ledger.db"
    path.write_bytes(disk[1])
    (folder / "ledger.db-wal").write_bytes(disk[2])
    try:
        with SqliteLog(path) as log:
            kept = {row.offset: row.value for row in log.read(0, 10_000)}
            found = [row.pos for row in log.verdicts(0, 10_000)]
            judged = log.judge().next_offset
            went_on = log.append([("run", b"after")])
    except (LogError, TypeError) as problem:  # A page lost whole reads as rows of NULL.
        return str(problem)
    database = apsw.Connection(str(path))
    health = database.execute("PRAGMA integrity_check").get
    database.close()
    missing = [offset for offset, wanted in acked.items() if kept.get(offset) != wanted]
    if health != "ok":
        return str(health)
    if missing:
        return f"{len(missing)} of {len(acked)} acknowledged events are lost, first {missing[0]}"
    if sorted(kept) != list(range(1, len(kept) + 1)) or went_on != [len(kept) + 1]:
        return "there is a gap"
    if len(found) < verdicts or judged != len(found) + 1:
        return f"{len(found)} verdicts of {verdicts} published, judged below {judged}"
    return ""


def play(trace: bytes, folder: Path, cuts: int, seed: int, *, syncs: bool = True) -> list[str]:
    """Cut the power at `cuts` places; what was wrong at each. Without `syncs` none is obeyed."""
    chance = random.Random(seed)
    steps = list(records(trace))
    first = next(index for index, step in enumerate(steps) if step[0] == SYNC) + 1
    places = set(chance.sample(range(first, len(steps)), cuts - 1)) | {len(steps) - 1}
    disk = Disk()
    acked: dict[int, bytes] = {}
    verdicts = 0
    problems = []
    for index, (kind, file, offset, data) in enumerate(steps):
        if kind == SYNC and (syncs or index < first):
            disk.sync(file)
        elif kind == MARK and offset & VERDICT:
            verdicts = offset & ~VERDICT
        elif kind == MARK:
            acked[offset >> 16] = value(offset >> 8 & 0xFF, offset & 0xFF)
        elif kind in {WRITE, TRUNCATE}:
            disk.loose[file].append((kind, offset, data))
        if index in places:
            problem = check(folder, disk.after_power_cut(chance), acked, verdicts)
            problems.append(f"seed {seed}, record {index}: {problem}" if problem else "")
            for left in folder.iterdir():
                left.unlink()
    return problems


def test_what_was_acknowledged_survives_a_power_cut(trace: bytes, tmp_path: Path) -> None:
    """Invariant 1, and 2: what was published stays decided. `flush()` promises it."""
    kinds = [step[0] for step in records(trace)]
    assert kinds.count(SYNC) > 100
    assert kinds.count(MARK) > 300

    problems = play(trace, tmp_path, cuts=60, seed=int.from_bytes(os.urandom(4)))
    assert [problem for problem in problems if problem] == []


def test_a_disk_that_ignores_syncs_loses_events(trace: bytes, tmp_path: Path) -> None:
    """The test above can fail: it is the syncs that keep the events."""
    problems = play(trace, tmp_path, cuts=10, seed=1, syncs=False)

    assert len([problem for problem in problems if problem]) > 5
