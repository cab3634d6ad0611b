"""`ledger worker` as a process of its own, and what the group's coordinator says of it."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from ledger.log.kafka_place import Place
from tests.live.kafka.chaos import url_of
from tests.waiting import wait_for

UP_S = 120.0
"""A worker starts in three seconds; on a machine that does five other things too, in thirty."""


class Worker:
    """A process that runs; what it prints is in `out` and `err`."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = folder / "out", folder / "err"
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=out, stderr=err, cwd=folder, env={**os.environ, **environment},
                start_new_session=True,
            )  # fmt: skip

    @property
    def out(self) -> str:
        """Its standard output so far."""
        return self._files[0].read_text(errors="replace")

    @property
    def err(self) -> str:
        """Its standard error so far."""
        return self._files[1].read_text(errors="replace")

    def said(self, text: str) -> None:
        """Wait until it has said this. Fails where it ends without."""
        wait_for(lambda: text in self.out + self.err or self._ended(), UP_S, what=f"{text!r}")
        assert text in self.out + self.err, f"it ended: {self.out}{self.err}"

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, and wait; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(UP_S)

    def ended(self) -> int:
        """Wait for it to end by itself; the exit code."""
        return self.process.wait(UP_S)

    def children(self, role: str) -> list[int]:
        """The processes of this role that it started and that live."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                group = os.getpgid(int(entry.name)) if entry.name.isdigit() else 0
            except OSError:
                continue  # It ended while we looked.
            if group == self.process.pid and role.encode() in words and b"-P" in words:
                found.append(int(entry.name))
        return found

    def _ended(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def working(
    place: Place | str, folder: Path, *options: str, **environment: str
) -> Iterator[Worker]:
    """`ledger worker` on this log, killed at the end with all it started, if it still runs."""
    url = place if isinstance(place, str) else url_of(place)
    command = ("ledger.cli", "--log", url, "worker", *options)
    with running(folder, *command, **environment) as worker:
        yield worker


@contextmanager
def running(folder: Path, *command: str, **environment: str) -> Iterator[Worker]:
    """`python -m command`, killed at the end with all it started, if it still runs."""
    worker = Worker(folder, *command, **environment)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait()


def free_port() -> int:
    """A port that nobody listens on, and neither on the next one.

    Below those that outgoing connections get, of which there are many here.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as one, socket.socket() as next_one:
            try:
                one.bind(("127.0.0.1", port))
                next_one.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def ask(port: int, path: str) -> tuple[int, str]:
    """(status, body) of a page of a worker; (0, "") while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()
    except OSError:
        return 0, ""


def health(port: int) -> dict[str, Any]:
    """What /health says, with its status; empty while nobody answers."""
    status, body = ask(port, "/health")
    return {**json.loads(body), "status": status} if body else {}


def metric(port: int, name: str) -> float:
    """The value of a metric without labels; -1 while there is none."""
    for line in ask(port, "/metrics")[1].splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    return -1.0


def members(place: Place, group: str) -> list[str]:
    """Who is in the group, as its coordinator sees it."""
    return asyncio.run(_members(place, f"{place.prefix}-{group}"))


async def _members(place: Place, group: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    return [member[0] for found in answer.groups for member in found[5]]


@contextmanager
def late_door(port: int, place: Place) -> Iterator[Callable[[], None]]:
    """A way to a broker through `port` that opens when it is called: a broker that starts late."""
    host, _, number = place.bootstrap.partition(",")[0].rpartition(":")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(host, int(number))
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))

    servers: list[asyncio.Server] = []

    def open_it() -> None:
        starting = asyncio.start_server(through, "127.0.0.1", port)
        servers.append(asyncio.run_coroutine_threadsafe(starting, loop).result(UP_S))

    async def stop() -> None:
        for server in servers:
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield open_it
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(UP_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()
