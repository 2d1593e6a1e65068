"""Servers that a test kills and starts again on the same data."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.supervisor import valkey
from tests.stack.processes import free_port, need, until
from tests.stack.servers import _answers, _create_database, postgres_binaries


@dataclass
class Server:
    """One server process; `url` is empty for the embedded one, which needs none."""

    command: list[str]
    url: str
    is_ready: Callable[[], bool]
    stdin: bytes = b""
    options: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, **quiet, **self.options)
        assert self.process.stdin
        self.process.stdin.write(self.stdin)
        self.process.stdin.close()
        until(self.is_ready, seconds=30, what=self.command[0])

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(20)


@contextmanager
def started(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGINT)


def embedded_broker(data_dir: Path) -> Server:
    valkey.make_folders(data_dir)
    configuration = valkey.configuration(data_dir).encode()
    return Server(valkey.command(), "", lambda: valkey.is_ready(data_dir), configuration)


def redis_broker(folder: Path) -> Server:
    """Without persistence: what it held is lost with it."""
    binary = shutil.which("redis-server")
    need(binary, "redis-server")
    port = free_port()
    url = f"redis://:test-password@127.0.0.1:{port}/0"
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--requirepass", "test-password"]
    return Server([str(binary), *options], url, lambda: _answers(url), options={"cwd": folder})


@contextmanager
def postgres() -> Iterator[Server]:
    """PostgreSQL refuses to run as root, so there it runs as `postgres`."""
    binaries = postgres_binaries()
    need(binaries, "PostgreSQL")
    as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="proofdeck-postgres-"))
    if as_user:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
    port = free_port()
    initdb = [str(binaries / "initdb"), "-D", str(folder / "db"), "-A", "trust", "-U", "proofdeck", "-E", "UTF8"]
    options = ["-k", str(folder), "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-p", str(port)]
    url = f"postgres://proofdeck@127.0.0.1:{port}"
    try:
        subprocess.run([*initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)
        command = [str(binaries / "postgres"), "-D", str(folder / "db"), *options]
        made: list[bool] = []

        def is_ready() -> bool:
            if not made and _create_database(f"{url}/postgres"):
                made.append(True)
            return bool(made) and _connects(f"{url}/proofdeck")

        server = Server(command, f"{url}/proofdeck", is_ready, options={"cwd": folder, **as_user})
        with started(server):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _connects(url: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(url):
            return True
    except psycopg.OperationalError:
        return False
