"""The parts of the supervisor that need no real services; tests/stack runs the whole."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from config.supervisor import guard
from config.supervisor.lock import DataFolderInUseError, lock_data_folder, write_holder
from config.supervisor.output import Printer
from config.supervisor.run import StartFailedError, free_port
from config.supervisor.service import Service
from config.supervisor.valkey import configuration, make_folders

SLEEP = "import time; time.sleep(60)"


def service(tmp_path, code: str, output: io.StringIO, **options) -> Service:
    return Service("web", [sys.executable, "-c", code], Printer(output), tmp_path, dict(os.environ), **options)


def watch_until(watched: Service, check) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        watched.watch()
        time.sleep(0.02)


def test_it_prefixes_each_line_with_the_name(tmp_path):
    output = io.StringIO()
    watched = service(tmp_path, "print('one'); print('two', flush=True); " + SLEEP, output)
    watch_until(watched, lambda: "two" in output.getvalue())
    watched.stop(lambda: False)
    assert output.getvalue() == "web    | one\nweb    | two\n"


def test_it_waits_longer_after_each_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("config.supervisor.service.FIRST_DELAY", 0.01)
    output = io.StringIO()
    watched = service(tmp_path, "raise SystemExit(3)", output)
    watch_until(watched, lambda: watched.failures == 3)
    told = [line for line in output.getvalue().splitlines() if line.startswith("up")]
    assert told == [f"up     | web ended with code 3, starting it again in {d} s" for d in ("0.01", "0.02", "0.04")]


def test_it_does_not_start_before_what_it_needs(tmp_path):
    watched = service(tmp_path, SLEEP, io.StringIO(), may_start=lambda: False)
    watched.watch()
    assert watched.process is None


def test_it_kills_what_does_not_stop_and_its_children(tmp_path):
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    output = io.StringIO()
    watched = service(tmp_path, code, output, grace=0.2)
    watch_until(watched, lambda: output.getvalue().count("\n") == 1)
    process = watched.process
    watched.stop(lambda: False)
    assert process.returncode == -signal.SIGKILL
    child = int(output.getvalue().split()[-1])
    deadline = time.monotonic() + 5
    while not is_gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_the_guard_ends_the_groups_that_are_left():
    children = [subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) for _ in range(2)]
    lines = "".join(f"+{child.pid}\n" for child in children) + f"-{children[0].pid}\n"
    command = [sys.executable, "-I", "-S", guard.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        process.stdin.write(lines)
        process.stdin.close()
        assert children[1].wait(5) == -signal.SIGTERM
        assert process.wait(5) == 0
    assert children[0].poll() is None
    children[0].kill()
    children[0].wait()


def test_the_second_lock_names_the_holder(tmp_path):
    with lock_data_folder(tmp_path) as lock:
        write_holder(lock, "http://127.0.0.1:8000/")
        with pytest.raises(DataFolderInUseError, match=rf"is in use by process {os.getpid()} http://127.0.0.1:8000/$"):
            lock_data_folder(tmp_path)
    lock_data_folder(tmp_path).close()


def test_a_full_range_of_ports_is_said(monkeypatch):
    monkeypatch.setattr("config.supervisor.run.PORTS_TO_TRY", 0)
    with pytest.raises(StartFailedError, match="no free port from 8000"):
        free_port("127.0.0.1", 8000)


def test_the_broker_listens_on_its_socket_only_and_keeps_its_data(tmp_path):
    directives = dict(line.split(" ", 1) for line in configuration(tmp_path / 'a "b"').splitlines())
    assert directives["port"] == "0"
    assert directives["appendonly"] == "yes"
    assert directives["maxmemory-policy"] == "noeviction"
    assert directives["dir"] == f'"{tmp_path}/a \\"b\\"/valkey"'
    assert len(directives["requirepass"]) >= 40


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("config.supervisor.valkey.os.getuid", lambda: os.geteuid() + 1)
    with pytest.raises(RuntimeError, match="belongs to someone else"):
        make_folders(tmp_path)
