"""Real processes for tests, with a marker in their environment, so that a test can tell when one is left over."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
MARKER = "PROOFDECK_TEST"
# What the developer's own shell may have set must not reach the processes under test.
OWN_SETTINGS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DEBUG", "HOST", "PORT", "DATA_DIR", "ALLOWED_HOSTS")


def need(found: object, what: str) -> None:
    """Skip where a program is missing, fail where REQUIRE_ALL says that it must be there."""
    if not found:
        refuse = pytest.fail if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip
        refuse(f"{what} is not installed")


T = TypeVar("T")


def until(check: Callable[[], T], *, seconds: float, what: str) -> T:
    """The first true answer; the test fails when none comes in time."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> tuple[int, str]:
    """Status and body of a page; status 0 when nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
            return response.status, response.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return 0, ""


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}
    return {**kept, "DATA_DIR": str(data_dir), "LAB_MODELS": "tiny", MARKER: uuid.uuid4().hex, **more}


def marked(marker: str) -> list[psutil.Process]:
    """Living processes that were started with that marker, directly or by one that was."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@dataclass
class Stack:
    """One `manage.py up`."""

    data_dir: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def log_file(self) -> Path:
        return self.data_dir.parent / "up.log"

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def url(self) -> str:
        return self.log.split(" is ready: ")[1].split()[0]

    def start(self, *arguments: str) -> None:
        command = [sys.executable, str(ROOT / "manage.py"), "up", *arguments]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd="/")
        until(lambda: "Ctrl-C stops" in self.log or self.process.poll() is not None, seconds=300, what="a start")
        assert self.process.poll() is None, self.log

    def manage(self, *arguments: str, **more: str) -> str:
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        environment = {**self.environment, **more}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd="/").stdout

    def leftovers(self) -> list[psutil.Process]:
        return marked(self.environment[MARKER])

    def find(self, text: str) -> list[psutil.Process]:
        return [process for process in self.leftovers() if text in " ".join(process.cmdline())]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def kill(self) -> None:
        """Whatever a failed test left."""
        for process in self.leftovers():
            process.kill()


@contextmanager
def running_stack(data_dir: Path, *arguments: str, **more: str) -> Iterator[Stack]:
    stack = Stack(data_dir, environment(data_dir, PORT=str(free_port()), **more))
    try:
        stack.start(*arguments)
        yield stack
    finally:
        stack.kill()
