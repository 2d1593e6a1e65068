"""`manage.py up` as a user meets it."""

import json
import signal
import socket
import subprocess
import sys

from redis import Redis

from tests.stack.processes import ROOT, Stack, get, running_stack, until


def is_ready(stack: Stack) -> bool:
    return get(f"{stack.url}readyz")[0] == 200


def test_it_answers_when_it_says_so(stack):
    assert get(f"{stack.url}healthz")[0] == 200
    status, body = get(f"{stack.url}readyz")
    assert (status, json.loads(body)["parts"]) == (200, {"database": "ok", "broker": "ok", "worker": "ok"})


def test_it_serves_the_first_page_and_its_style_sheet(stack):
    status, page = get(stack.url)
    assert status == 200
    style = page.split('rel="stylesheet" href="/')[1].split('"')[0]
    assert get(stack.url + style)[0] == 200


def test_it_starts_a_killed_worker_again(stack):
    worker = min(stack.find("celery"), key=lambda process: process.create_time())
    worker.kill()
    until(lambda: "starting it again" in stack.log, seconds=10, what="notice")
    until(lambda: stack.find("celery") and is_ready(stack), seconds=30, what="a new worker")
    assert not worker.is_running()


def test_it_refuses_a_second_start_on_the_same_data(stack):
    command = [sys.executable, str(ROOT / "manage.py"), "up"]
    second = subprocess.run(command, env=stack.environment, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert second.stderr.strip().endswith(f"is in use by process {stack.process.pid} {stack.url}")
    assert is_ready(stack)


def test_it_makes_no_known_logins_on_a_database_server(stack):
    assert ("demo-proofdeck" in stack.log) == ("DATABASE_URL" not in stack.environment)


def test_ctrl_c_stops_everything(folder):
    with running_stack(folder) as stack:
        assert stack.stop(signal.SIGINT) == 0
        assert stack.leftovers() == []
        assert "Traceback" not in stack.log


def test_a_killed_supervisor_leaves_nothing_and_starts_again(folder):
    with running_stack(folder) as stack:
        stack.stop(signal.SIGKILL)
        stack.start()
        assert is_ready(stack)
        assert stack.stop() == 0
        assert stack.leftovers() == []


def test_a_busy_port_gets_the_next_one(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = other.getsockname()[1]
        with running_stack(folder, "--port", str(busy)) as stack:
            assert f"port {busy} is busy, taking " in stack.log
            assert int(stack.url.rstrip("/").rsplit(":")[-1]) > busy
            assert is_ready(stack)


def test_a_killed_broker_comes_back_with_what_it_held(embedded_stack):
    socket_path = str(embedded_stack.data_dir / "valkey" / "valkey.sock")
    password = (embedded_stack.data_dir / "valkey" / "password").read_text()
    with Redis(unix_socket_path=socket_path, password=password) as client:
        client.set("held", "yes")
        [broker] = embedded_stack.find("valkey-server")
        broker.kill()
        until(
            lambda: embedded_stack.find("valkey-server") and is_ready(embedded_stack), seconds=40, what="a new broker"
        )
        assert client.get("held") == b"yes"


def test_secrets_are_for_the_owner_and_not_on_a_command_line(embedded_stack):
    command_lines = [" ".join(process.cmdline()) for process in embedded_stack.leftovers()]
    for name in ("secret_key", "admin_password", "valkey/password"):
        path = embedded_stack.data_dir / name
        assert path.stat().st_mode & 0o077 == 0
        assert not any(path.read_text() in line for line in command_lines)
    for name in ("valkey", "valkey/valkey.sock"):
        assert (embedded_stack.data_dir / name).stat().st_mode & 0o077 == 0
