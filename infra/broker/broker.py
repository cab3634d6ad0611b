"""A real Apache Kafka for the tests, without Docker: one node or three, in a folder of its own.

Run as a program. It says what it does as JSON lines on standard output, beginning with
`{"bootstrap": "127.0.0.1:…", "nodes": {"1": pid, …}}` once every node answers, takes
`kill N` and `start N` on standard input, and stops all nodes when its input ends.
Needs Java 17 and Maven; the jars come from Maven once and stay in `target/lib`.
With `--secured` one node has the doors of `secured.py` too, and the first line their addresses
and keys; that needs `openssl`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import secured

HERE = Path(__file__).resolve().parent
JARS = HERE / "target" / "lib"
UP_WITHIN_S = 60.0
POLL_S = 0.05
JAVA_MIN = 17
HEAP_MB = {1: 1024, 3: 512}


class Missing(Exception):
    """What a broker needs is not there; the message says what it is, and what to do."""


def jars() -> Path:
    """The folder of the broker's jars, fetched where it is not there. Raises Missing."""
    if shutil.which("java") is None:
        raise Missing("a real broker needs Java 17, and there is no `java` here: install it")
    said = subprocess.run(["java", "-version"], check=False, capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA_MIN:
        found = (said.splitlines() or ["nothing"])[0]
        raise Missing(
            f"a real broker needs Java {JAVA_MIN} or newer; `java -version` says: {found}"
        )
    if not JARS.exists():
        if shutil.which("mvn") is None:
            raise Missing("a real broker needs Maven to fetch its jars, once: install `mvn`")
        made = JARS.with_name(f"lib-{os.getpid()}")
        fetch = [
            "mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
            f"-DoutputDirectory={made}", "-DincludeScope=runtime",
        ]  # fmt: skip
        if subprocess.run(fetch, check=False, stdout=sys.stderr).returncode:
            raise Missing("Maven could not fetch the broker's jars; see what it says above")
        try:
            made.rename(JARS)
        except OSError:  # Another process was first; its folder is as good.
            shutil.rmtree(made)
    return JARS


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; port 0 does not work for Kafka's listeners."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """`size` nodes, each broker and controller, with their data below `folder`.

    `doors` are the ports of listeners of `secured.py`, which a node has beside the plain one.
    """

    def __init__(self, size: int, folder: Path, doors: dict[str, int]) -> None:
        self.size = size
        self.folder = folder
        self.doors = doors
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}
        ports = free_ports(2 * size)
        self.ports = dict(enumerate(ports[:size], 1))
        voters = dict(enumerate(ports[size:], 1))
        self.voters = voters
        cluster_id = self._tool("random-uuid").strip()
        for node in self.ports:
            self._write_properties(node)
            config = str(self._file(node))
            users = secured.scram_users() if doors else []
            self._tool("format", "-t", cluster_id, "-c", config, *users)

    @property
    def bootstrap(self) -> str:
        """Every node's address, in the form that clients take."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def start(self, node: int) -> None:
        """Start a node and wait until it answers."""
        log = (self.folder / f"node-{node}.log").open("ab")
        command = [*self._java(), "kafka.Kafka", str(self._file(node))]
        self.nodes[node] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def wait(self, node: int) -> None:
        """Return when the node answers; RuntimeError with the end of its log when it dies."""
        until = time.monotonic() + UP_WITHIN_S
        while time.monotonic() < until:
            if self.nodes[node].poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.ports[node]), 1).close()
            except OSError:
                time.sleep(POLL_S)
            else:
                return
        text = (self.folder / f"node-{node}.log").read_text(errors="replace")
        raise RuntimeError(f"node {node} did not come up:\n{text[-3000:]}")

    def kill(self, node: int, number: int = signal.SIGKILL) -> None:
        """End a node; by default as if its machine lost power."""
        process = self.nodes.pop(node, None)
        if process is not None:
            process.send_signal(number)
            process.wait()

    def stop(self) -> None:
        """End every node at once: the data is thrown away."""
        for node in tuple(self.nodes):
            self.kill(node)

    def pids(self) -> dict[str, int]:
        """Process ids by node."""
        return {str(node): process.pid for node, process in self.nodes.items()}

    def _java(self) -> list[str]:
        heap = HEAP_MB.get(self.size, min(HEAP_MB.values()))
        return [
            "java", f"-Xmx{heap}m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", f"{jars()}/*",
        ]  # fmt: skip

    def _tool(self, *arguments: str) -> str:
        command = [*self._java(), "kafka.tools.StorageTool", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"StorageTool {arguments[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _file(self, node: int) -> Path:
        return self.folder / f"node-{node}.properties"

    def _write_properties(self, node: int) -> None:
        copies = min(self.size, 3)
        client, control = self.ports[node], self.voters[node]
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in self.voters.items())
        ours = {"PLAINTEXT": client, **self.doors}
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ours.items())
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **secured.DOORS}
        properties = {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{control}",
            "advertised.listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
            "log.dirs": self.folder / f"node-{node}",
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "transaction.state.log.num.partitions": 4,
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "unclean.leader.election.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            # Workers that die every few seconds shall be missed within a few.
            "group.min.session.timeout.ms": 1000,
            "auto.create.topics.enable": "false",
            # A test kills the leader and wants a new one while it watches.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            **(secured.properties(self.folder) if self.doors else {}),
        }
        lines = (f"{key}={value}" for key, value in properties.items())
        self._file(node).write_text("\n".join(lines) + "\n")


def _say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _serve(cluster: Cluster) -> None:
    for node in cluster.ports:
        cluster.start(node)
    for node in cluster.ports:
        cluster.wait(node)
    ready: dict[str, object] = {"bootstrap": cluster.bootstrap, "nodes": cluster.pids()}
    if cluster.doors:
        ready["secured"] = secured.ways_in(cluster.folder, cluster.doors)
    _say(**ready)
    for line in sys.stdin:
        verb, _, number = line.strip().partition(" ")
        node = int(number) if number.isdigit() else 0
        if verb not in ("kill", "start") or node not in cluster.ports:
            _say(error=f"say 'kill N' or 'start N' with N of {list(cluster.ports)}; got {line!r}")
            continue
        if verb == "kill":
            cluster.kill(node)
        else:
            cluster.start(node)
            cluster.wait(node)
        _say(did=line.strip(), nodes=cluster.pids())


def main() -> int:
    """Run the cluster until the input ends; 2 where a broker cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 3))
    parser.add_argument("--secured", action="store_true", help="one node, with TLS and SASL too")
    wanted = parser.parse_args()
    if wanted.secured and wanted.nodes != 1:
        parser.error("--secured is one node")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = Path(tempfile.mkdtemp(prefix="ledger-broker-"))
    cluster = None
    try:
        doors: dict[str, int] = {}
        if wanted.secured:
            if shutil.which("openssl") is None:
                raise Missing("a secured broker needs `openssl`: install it")
            secured.make_certificates(folder)
            doors = dict(zip(secured.DOORS, free_ports(len(secured.DOORS)), strict=True))
        cluster = Cluster(wanted.nodes, folder, doors)
        _serve(cluster)
    except Missing as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    finally:
        if cluster is not None:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
