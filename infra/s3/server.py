"""A real S3-compatible server for the tests, without Docker: Versity's gateway over a folder.

Run as a program. It says `{"endpoint": …, "bucket": …, "key": …, "secret": …}` as a JSON line once
it answers, and stops when its input ends. `--build` only makes the program, in `target`.
It must refuse the second of two writers of one new object, or an archive loses commits: that is
what was looked for. s3proxy 2.6 and Adobe's s3mock 4.7 do not (37 and 90 commits that were said
to have worked left 32 and 85); Versity's gateway 1.8 and MinIO do.
Needs Go; `go.mod` and `go.sum` name every module with its hash.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "target" / "versitygw"
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
BUCKET, KEY, SECRET = "archive", "ledger", "ledger-secret"
UP_WITHIN_S = 60.0
POLL_S = 0.05


class Missing(Exception):
    """Go is not there; the message says what to install."""


def program() -> Path:
    """The server, built where it is not there: some minutes, once. Raises Missing."""
    if PROGRAM.exists():
        return PROGRAM
    if shutil.which("go") is None:
        raise Missing("a real S3 server needs Go 1.25 or newer to be built, once")
    made = PROGRAM.with_name(f"versitygw-{os.getpid()}")
    build = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(made), PACKAGE]
    subprocess.run(build, check=True, cwd=HERE, stdout=sys.stderr)
    made.rename(PROGRAM)
    return PROGRAM


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(POLL_S)
        else:
            return
    raise RuntimeError(f"the server did not come up:\n{log.read_text(errors='replace')[-2000:]}")


def _serve(folder: Path) -> None:
    """Serve until the input ends."""
    (folder / "data" / BUCKET).mkdir(parents=True)
    port, log = _free_port(), folder / "server.log"
    command = [str(program()), "--quiet", "--port", f"127.0.0.1:{port}", "posix"]
    environment = {**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, str(folder / "data")], env=environment, stdin=subprocess.DEVNULL,
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(process, port, log)
        endpoint = f"http://127.0.0.1:{port}"
        said = {"endpoint": endpoint, "bucket": BUCKET, "key": KEY, "secret": SECRET}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        process.kill()
        process.wait()


def main() -> int:
    """Run the server; 2 where it cannot be built here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", action="store_true", help="build it, and do not run it")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ledger-s3-"))
    try:
        if asked.build:
            program()
        else:
            _serve(folder)
    except Missing as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
