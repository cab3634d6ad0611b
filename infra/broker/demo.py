"""`make demo-kafka`: the demo on a real Apache Kafka, started for it and ended after it.

What a newcomer would get wrong
    With LEDGER_KAFKA=kafka://host:9092 no broker is started: the demo uses that one, in topics of
    its own, which it removes.
    Arguments go to `ledger demo` (`--keep FOLDER`, `--json`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BROKER = Path(__file__).resolve().with_name("broker.py")
MISSING = 2
END_S = 30.0


def demo(url: str) -> int:
    """The demo on the brokers of this URL; its exit code."""
    variables = {**os.environ, "LEDGER_LOG": url}
    return subprocess.run(
        [sys.executable, "-m", "ledger.cli", "demo", *sys.argv[1:]], check=False, env=variables
    ).returncode


def main() -> int:
    """Start a broker unless one is named, and play: 0, 1, or 2 where a broker cannot run here."""
    named = os.environ.get("LEDGER_KAFKA", "")
    if named:
        return demo(named if "://" in named else f"kafka://{named}")
    sys.stderr.write("Starting Apache Kafka (the first time its jars are fetched: a minute).\n")
    broker = subprocess.Popen(
        [sys.executable, str(BROKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert broker.stdin is not None
    assert broker.stdout is not None
    try:
        ready = broker.stdout.readline()
        if not ready:
            return broker.wait() or MISSING
        return demo(f"kafka://{json.loads(ready)['bootstrap']}")
    except KeyboardInterrupt:
        return 130
    finally:
        broker.stdin.close()  # It ends with its input, and its folder goes with it.
        broker.wait(END_S)


if __name__ == "__main__":
    sys.exit(main())
