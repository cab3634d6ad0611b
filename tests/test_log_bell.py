"""Bells wake who waits, never block who rings, leave nothing behind; latches survive anything."""

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ledger.log.bell import Bell, ring
from ledger.log.latch import Latch
from tests.waiting import wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bells"


def never() -> int:
    return 0


def test_a_ring_before_the_wait_is_not_lost(folder: Path) -> None:
    """A waiter looks, finds nothing, and only then waits: what came between must wake it."""
    with Bell(folder, "judge", changed=never) as bell:
        assert ring(folder, "judge") == 1

        assert bell.wait(0) is True
        assert bell.wait(0) is False


def test_a_ring_wakes_who_sleeps(folder: Path) -> None:
    """It is the whole purpose."""
    woken: list[bool] = []
    with Bell(folder, "judge", changed=never) as bell:
        sleeper = threading.Thread(target=lambda: woken.append(bell.wait(30)))
        sleeper.start()
        ring(folder)
        sleeper.join(120)

    assert woken == [True]


def test_only_who_is_meant_is_rung(folder: Path) -> None:
    """With a hundred clients, one verdict must not wake ninety-nine for nothing."""
    with (
        Bell(folder, "judge", changed=never) as judge,
        Bell(folder, "client", "a/b", changed=never) as one,
        Bell(folder, "client", "a", changed=never) as other,
    ):
        assert ring(folder, "client", "a/b") == 1
        assert (judge.wait(0), one.wait(0), other.wait(0)) == (False, True, False)

        assert ring(folder, "client") == 2
        assert ring(folder) == 3


def test_ringing_never_blocks_who_rings(folder: Path) -> None:
    """A client that does not listen (it is busy, or frozen) must not stop the judge."""
    with Bell(folder, "client", changed=never) as bell:
        for _ in range(5_000):  # Far past what a socket queues.
            assert ring(folder) == 1

        assert bell.wait(0) is True
        assert bell.wait(0) is False  # All of them are one.


def test_selecting_on_a_bell_works(folder: Path) -> None:
    """An asyncio client watches the descriptor."""
    with Bell(folder, "client", changed=never) as bell:
        assert select.select([bell], [], [], 0)[0] == []
        ring(folder)
        assert select.select([bell], [], [], 5)[0] == [bell]
        bell.hush()
        assert select.select([bell], [], [], 0)[0] == []


def test_a_closed_bell_leaves_nothing(folder: Path) -> None:
    """The folder is the list of who waits."""
    Bell(folder, "client", changed=never).close()

    assert list(folder.iterdir()) == []
    assert ring(folder) == 0


def test_what_a_killed_waiter_left_is_removed_by_the_next_ring(folder: Path) -> None:
    """Agents are killed all the time; the folder must not fill up, nor ringing slow down."""
    code = (
        "import os, sys; from ledger.log.bell import Bell\n"
        "bell = Bell(sys.argv[1], 'client', changed=lambda: 0); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert len(list(folder.iterdir())) == 1

    assert ring(folder) == 0
    assert list(folder.iterdir()) == []


def test_a_path_longer_than_socket_addresses_works(tmp_path: Path) -> None:
    """Socket addresses end at 104 bytes, and projects live in deep folders."""
    folder = tmp_path / ("deep" * 30) / ("deeper" * 30)
    with Bell(folder, "client", changed=never) as bell:
        assert not bell.polls
        assert ring(folder) == 1
        assert bell.wait(0) is True


def test_without_sockets_a_bell_polls(tmp_path: Path) -> None:
    """Some shared folders allow none; waiting is slower there and works."""
    blocked = tmp_path / "file"
    blocked.write_bytes(b"a file where the folder should be")
    version = [1]
    with Bell(blocked, "client", changed=lambda: version[0]) as bell:
        assert bell.polls
        assert bell.fileno() == -1
        assert bell.wait(0.02) is False

        timer = threading.Timer(0.02, lambda: version.__setitem__(0, 2))
        timer.start()
        assert bell.wait(120) is True
        assert bell.wait(0) is False
        assert ring(blocked) == 0


def test_strange_things_in_the_folder_disturb_nobody(folder: Path) -> None:
    """Anybody may put a file there."""
    with Bell(folder, "client", changed=never) as bell:
        (folder / "client.zzz").write_bytes(b"")
        (folder / "client.dir").mkdir()
        assert ring(folder) == 1
        assert bell.wait(0) is True


def test_a_forked_child_waits_on_a_bell_of_its_own(folder: Path) -> None:
    """On one socket, parent and child would take each other's rings."""
    code = (
        "import os, sys; from ledger.log.bell import Bell, ring\n"
        "folder = sys.argv[1]; bell = Bell(folder, 'client', changed=lambda: 0)\n"
        "if os.fork() == 0:\n"
        "    ok = bell.wait(120); bell.close(); os._exit(0 if ok else 1)\n"
        "while len(os.listdir(folder)) < 2: pass\n"
        "rung = ring(folder); status = os.wait()[1]\n"
        "print(rung, status, bell.wait(0), len(os.listdir(folder)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == ["2", "0", "True", "1"]


def test_sockets_are_all_that_is_opened(folder: Path) -> None:
    """An agent may wait for days: nothing may leak."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with Bell(folder, "client", changed=never) as bell:
            ring(folder)
            bell.wait(0)

    assert len(os.listdir("/proc/self/fd")) <= before + 1  # The one that rings stays.


# --- the latch ---------------------------------------------------------------------------------


def test_a_latch_is_seen_by_who_else_has_it(tmp_path: Path) -> None:
    """One process gives the order, the others must stop."""
    path = tmp_path / "latch"
    mine, other = Latch(path), Latch(path)
    assert mine.value() == other.value() == 0
    mine.show(7)

    assert other.value() == 7


@pytest.mark.parametrize("content", [b"", b"\x01", b"\xff" * 8, b"\xff" * 10_000])
def test_a_left_over_latch_is_usable(tmp_path: Path, content: bytes) -> None:
    """A crash, a full disk or a stranger may leave anything; the number is only a hint."""
    path = tmp_path / "latch"
    path.write_bytes(content)
    latch = Latch(path)
    latch.show(3)

    assert latch.value() == Latch(path).value() == 3


def test_a_deleted_latch_is_made_anew_by_the_next_order(tmp_path: Path) -> None:
    """Who opens the log later must find it."""
    path = tmp_path / "latch"
    latch = Latch(path)
    path.unlink()
    latch.show(3)

    assert Latch(path).value() == 3


def test_a_latch_without_a_file_works_alone(tmp_path: Path) -> None:
    """An agent must run where the folder cannot be written."""
    latch = Latch(tmp_path / "missing" / "latch")
    latch.show(3)

    assert latch.value() == 3


def test_a_latch_reaches_another_process_without_a_call(tmp_path: Path) -> None:
    """It is shared memory: a process that computes sees it at its next look."""
    path = tmp_path / "latch"
    latch = Latch(path)
    code = (
        "import sys; from ledger.log.latch import Latch\n"
        "latch = Latch(sys.argv[1]); print('ready', flush=True)\n"
        "while latch.value() == 0: pass\n"
        "print(latch.value())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as spinning:
        assert spinning.stdout is not None
        assert spinning.stdout.readline() == "ready\n"
        latch.show(41)
        try:
            wait_for(lambda: spinning.poll() is not None, what="the other process to see it")
        finally:
            spinning.kill()
        assert spinning.stdout.read() == "41\n"
