"""Judges that are killed, frozen, thawed, stopped and started at random, while a fleet writes.

A program too: `python -m tests.live.kafka.chaos --seconds 120 --seed 7` starts a broker of its
own, or uses the one that LEDGER_KAFKA names, and ends with 1 where the judges' state or verdicts
differ from a plain fold of the log.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_topics import apply
from ledger.processors.app import GROUP
from tests.live.kafka.broker import running
from tests.live.kafka.truth import folded, kept
from tests.waiting import wait_for
from tests.wheel import ROOT

SESSION_S = 3.0
WORKERS_MAX = 3
EVENTS_PER_S = 5_000
CAUGHT_UP_S = 90.0
JUDGES = "ledger.processors.app"
ARCHIVISTS = "ledger.processors.archiving"


def url_of(place: Place) -> str:
    """The URL of a place without security."""
    options = f"partitions={place.partitions}&replication={place.replication}"
    return f"kafka://{place.bootstrap}/{place.prefix}?{options}"


class Workers:
    """Processes of the Faust app `app`, some of them frozen; they print to files in `folder`."""

    def __init__(self, place: Place, folder: Path, app: str = JUDGES, **environment: str) -> None:
        self._environment = {
            **os.environ, "LEDGER_KAFKA": url_of(place), "LEDGER_SESSION_S": str(SESSION_S),
            "PYTHONPATH": str(ROOT), **environment,
        }  # fmt: skip
        self._app, self._folder = app, folder
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.frozen: set[int] = set()
        self.started = 0

    def start(self) -> None:
        """Start one more."""
        self.started += 1
        with (self._folder / f"worker-{self.started}.log").open("wb") as out:
            self.running[self.started] = subprocess.Popen(
                [sys.executable, "-m", "faust", "-A", self._app, "worker", "-l", "warn",
                 "--without-web"],
                stdout=out, stderr=out, env=self._environment, cwd=self._folder,
                start_new_session=True,
            )  # fmt: skip

    def awake(self) -> list[int]:
        """Who runs and is not frozen."""
        return [number for number in self.running if number not in self.frozen]

    def kill(self, number: int) -> None:
        """As if its machine lost power."""
        self._signal(number, signal.SIGKILL)
        self.running.pop(number).wait()
        self.frozen.discard(number)

    def freeze(self, number: int) -> None:
        """Stop its clock."""
        self._signal(number, signal.SIGSTOP)
        self.frozen.add(number)

    def thaw(self, number: int) -> None:
        """Let it go on, as if nothing had happened."""
        self._signal(number, signal.SIGCONT)
        self.frozen.discard(number)

    def stop(self, number: int) -> int:
        """Ask it to end; its exit code. Killed where it does not within 20 s."""
        self._signal(number, signal.SIGTERM)
        process = self.running.pop(number)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -signal.SIGKILL

    def end(self) -> None:
        """Kill all."""
        for number in list(self.running):
            self.kill(number)

    def said(self) -> str:
        """What they printed, with the last of each."""
        return "\n".join(
            f"--- {file.name}\n{file.read_text(errors='replace')[-2_000:]}"
            for file in sorted(self._folder.glob("worker-*.log"))
        )

    def _signal(self, number: int, which: signal.Signals) -> None:
        if self.running[number].poll() is None:
            os.kill(self.running[number].pid, which)


def torment(workers: Workers, chance: random.Random) -> str:
    """One random thing to one random worker; what it was."""
    for number in sorted(workers.frozen):
        if chance.random() < 0.6:
            workers.thaw(number)
    for number, process in list(workers.running.items()):
        if process.poll() is not None:
            workers.running.pop(number)
    awake = workers.awake()
    what = chance.choices(["kill", "freeze", "start", "stop"], weights=[45, 25, 15, 15])[0]
    if not awake or (what == "start" and len(workers.running) < WORKERS_MAX):
        workers.start()
        return "start"
    number = chance.choice(awake)
    if what == "kill":
        workers.kill(number)
        workers.start()
    elif what == "freeze":
        workers.freeze(number)
    elif len(awake) > 1:
        workers.stop(number)
        what = "stop"
    return what


def torment_for(
    seconds: float, workers: Workers, chance: random.Random, *, between_s: tuple[float, float]
) -> dict[str, int]:
    """Start two workers, and torment them; how often each thing was done."""
    counts: dict[str, int] = {}
    workers.start()
    workers.start()
    pause = threading.Event()
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        pause.wait(chance.uniform(*between_s))
        what = torment(workers, chance)
        counts[what] = counts.get(what, 0) + 1
    return counts


def writing(place: Place, seconds: float, events_per_s: int, seed: int) -> subprocess.Popen[str]:
    """A fleet that writes for so long, and then prints how many events it wrote."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.live.kafka.traffic", url_of(place), str(seconds),
         str(events_per_s), str(seed)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def chaos(place: Place, seconds: float, seed: int, folder: Path) -> dict[str, int]:
    """Let it happen for `seconds`; counts of what was done. AssertionError on a difference."""
    workers = Workers(place, folder)
    writer = writing(place, seconds, EVENTS_PER_S, seed)
    try:
        counts = torment_for(seconds, workers, random.Random(seed), between_s=(2, 6))
        counts["written"] = int(writer.communicate(timeout=60)[0])
        for number in sorted(workers.frozen):
            workers.thaw(number)
        if not workers.awake():
            workers.start()
        ends = asyncio.run(ends_of(place))
        wait_for(lambda: judged(place, ends), CAUGHT_UP_S, what="all to be judged", poll_s=0.5)
        for number in list(workers.running):
            workers.stop(number)
        counts["repeated"] = asyncio.run(compare(place, ends))
    except BaseException:
        sys.stderr.write(workers.said())
        raise
    finally:
        writer.kill()
        workers.end()
    return counts


async def ends_of(place: Place) -> list[int]:
    """The next offset of every partition of events."""
    async with Reader(place) as reader:
        topic = place.topic("events")
        return [(await reader.bounds(topic, p))[1] for p in range(place.partitions or 0)]


def judged(place: Place, ends: list[int]) -> bool:
    """Whether checkpoints cover the log up to `ends`."""
    return asyncio.run(_committed(place, ends))


async def _committed(place: Place, ends: list[int]) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    try:
        await admin.start()
        found = await admin.list_consumer_group_offsets(f"{place.prefix}-{GROUP}")
    except KafkaError:
        return False  # A broker has just begun, or another leads the group now: asked again.
    finally:
        await admin.close()
    by_number = {tp.partition: meta.offset for tp, meta in found.items()}
    return all(by_number.get(number, -1) >= end for number, end in enumerate(ends))


async def compare(place: Place, ends: list[int]) -> int:
    """Every partition, judged up to `ends`, with a plain fold of it; how many verdicts did not
    count. AssertionError, with the first of them, on a difference."""
    repeated = 0
    for number, end in enumerate(ends):
        ours = await kept(place, f"{place.prefix}-{GROUP}", number)
        plain = await folded(place, number, len(ends), ours.end)

        assert ours.end >= end, f"partition {number} is judged up to {ours.end} of {end}"
        assert ours.verdicts == plain.verdicts, _first(ours.verdicts, plain.verdicts, number)
        assert ours.refused == plain.refused, f"partition {number}: other refusals"
        assert ours.ended == plain.ended, f"partition {number}: other runs have ended"
        assert ours.runs == plain.runs, _first(ours.runs, plain.runs, number)
        repeated += ours.repeated
    return repeated


def _first(ours: dict[Any, Any], plain: dict[Any, Any], number: int) -> str:
    """The first thing in which they differ."""
    for key in sorted(ours.keys() | plain.keys()):
        if ours.get(key) != plain.get(key):
            return f"partition {number}, {key}: judged {ours.get(key)}, folded {plain.get(key)}"
    return "they do not differ"


def main() -> None:
    """Run it once, and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument(
        "--archivists", action="store_true", help="Torment archivists too, afterwards."
    )
    asked = parser.parse_args()
    print(f"python -m tests.live.kafka.chaos --seconds {asked.seconds:g} --seed {asked.seed}")
    with running() as broker, tempfile.TemporaryDirectory() as folder:
        place = Place(broker.bootstrap, f"chaos-{asked.seed}", partitions=4, replication=1)
        asyncio.run(apply(place))
        print(chaos(place, asked.seconds, asked.seed, Path(folder)), flush=True)
        if asked.archivists:
            from tests.live.kafka import archive_chaos

            print(archive_chaos.chaos(place, asked.seconds, asked.seed, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
