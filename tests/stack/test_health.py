"""`/readyz` of a real web process whose parts are missing, dead or silent."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.supervisor import valkey
from config.supervisor.run import web_command
from tests.stack.processes import ROOT, environment, free_port, get, until

DEAD = "127.0.0.1:1"  # nothing listens on port 1


@contextmanager
def web(data_dir: Path, **more: str) -> Iterator[str]:
    """URL of a web process alone."""
    port = free_port()
    variables = environment(data_dir, DJANGO_SETTINGS_MODULE="config.settings", **more)
    process = subprocess.Popen(web_command("127.0.0.1", port), env=variables, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/healthz")[0] == 200, seconds=30, what="the web process")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(20)


def failing(url: str) -> list[str]:
    """The parts that /readyz names, which it has to do within 5 s."""
    began = time.monotonic()
    status, body = get(f"{url}readyz")
    assert time.monotonic() - began < 5
    answer = json.loads(body)
    assert (status == 503) == bool(answer["failing"])
    assert [name for name, state in answer["parts"].items() if state != "ok"] == answer["failing"]
    return answer["failing"]


@pytest.fixture
def broker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An embedded broker without a worker."""
    valkey.make_folders(folder)
    process = subprocess.Popen(valkey.command(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    process.stdin.write(valkey.configuration(folder).encode())
    process.stdin.close()
    until(lambda: valkey.is_ready(folder), seconds=10, what="the broker")
    yield process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(10)


def test_it_names_the_worker_when_none_lives(folder, broker):
    with web(folder) as url:
        assert failing(url) == ["worker"]


def test_it_names_a_broker_that_hangs_and_recovers(folder, broker):
    with web(folder) as url:
        os.kill(broker.pid, signal.SIGSTOP)
        assert failing(url) == ["broker", "worker"]
        os.kill(broker.pid, signal.SIGCONT)
        until(lambda: failing(url) == ["worker"], seconds=20, what="recovery")


def test_it_names_a_broker_that_is_gone_without_its_password(folder):
    with web(folder, REDIS_URL=f"redis://:hidden-word@{DEAD}/0", SECRET_KEY="x") as url:
        assert failing(url) == ["broker", "worker"]
        assert "hidden-word" not in get(f"{url}readyz")[1]


def test_it_names_a_database_that_is_gone_without_its_password(folder):
    with web(folder, DATABASE_URL=f"postgres://me:hidden-word@{DEAD}/none", SECRET_KEY="x") as url:
        assert "database" in failing(url)
        assert "hidden-word" not in get(f"{url}readyz")[1]
        assert get(f"{url}healthz")[0] == 200
