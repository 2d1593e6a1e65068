"""Web and worker started one by one, as systemd units and containers do."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack.processes import MARKER, ROOT, environment, free_port, get, marked, until
from tests.stack.servers import postgres_server, redis_server
from tests.stack.test_health import DEAD, web
from tests.stack.test_runs import CREATE, PASSWORD, TOY, USER, Api

TOKEN = "a-long-token"
SECRETS = ("the-secret-key", "test-password", TOKEN)


def manage(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, cwd="/", check=False)


@contextmanager
def started(variables: dict[str, str], log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """One command in the foreground, ended as systemd and a container's runtime end it."""
    with log.open("wb") as file:
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        process = subprocess.Popen(command, env=variables, stdout=file, stderr=file, cwd="/")
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def variables(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Two servers, secrets in files, JSON logs; the site is prepared."""
    folder = tmp_path_factory.mktemp("separate")
    with postgres_server() as database, redis_server(folder) as broker:
        given = {"SECRET_KEY": SECRETS[0], "DATABASE_URL": database, "REDIS_URL": broker, "METRICS_TOKEN": TOKEN}
        for name, value in given.items():
            (folder / name).write_text(value + "\n")
        files = {f"{name}_FILE": str(folder / name) for name in given}
        more = {"PORT": str(free_port()), "LOG_FORMAT": "json", "ALLOWED_HOSTS": "site.example,127.0.0.1"}
        made = environment(folder / "data", **files, **more)
        done = manage(made, "prepare")
        assert done.returncode == 0, done.stderr
        yield made


def json_lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def scrape(url: str) -> str:
    request = urllib.request.Request(f"{url}metrics", headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return response.read().decode()


def test_they_work_together_say_how_they_are_and_stop_when_told(variables, tmp_path):
    url = f"http://127.0.0.1:{variables['PORT']}/"
    assert manage(variables, "healthcheck", "web").returncode == 1
    web_log, worker_log = tmp_path / "web.log", tmp_path / "worker.log"
    with started(variables, web_log, "serve") as web, started(variables, worker_log, "work") as worker:
        until(lambda: get(f"{url}readyz")[0] == 200, seconds=60, what="web and worker")
        assert manage(variables, "healthcheck", "web").returncode == 0
        assert manage(variables, "healthcheck", "worker").returncode == 0
        assert manage(variables, "healthcheck", "worker", "--name", "gpu").returncode == 1
        assert "\nproofdeck_database_up 1.0\n" in scrape(url)
        get(f"{url}labs/?token={TOKEN}")
        assert manage(variables, "shell", "-v", "0", "-c", CREATE).returncode == 0
        api = Api(url, USER, PASSWORD)
        number = api.submit(lab="rank-sweep", params=TOY)
        assert api.finished(number)["status"] == "succeeded"
        ended = 'proofdeck_run_seconds_count{lab="rank-sweep",outcome="succeeded"} 1.0'
        assert ended in scrape(url)
    assert (web.returncode, worker.returncode) == (0, 0)
    assert marked(variables[MARKER]) == []
    pages = [line for line in json_lines(web_log) if "path" in line]
    assert [line["status"] for line in pages if line["path"] == "/labs/"] == [200]
    assert all(line["request"] for line in pages)
    of_the_run = [line for line in json_lines(worker_log) if line.get("run") == number]
    assert any("task" in line for line in of_the_run)
    logs = web_log.read_text() + worker_log.read_text()
    assert [secret for secret in SECRETS if secret in logs] == []


@pytest.mark.parametrize(
    ("variables_changed", "arguments", "says"),
    [
        ({}, ["--queues", "tpu"], "unknown queue 'tpu'; there are: cpu, gpu"),
        ({"REDIS_URL_FILE": ""}, [], "there is no broker: set REDIS_URL, or start `manage.py up` first"),
    ],
)
def test_a_worker_that_cannot_be_says_why(variables, variables_changed, arguments, says):
    done = manage(variables | variables_changed, "work", *arguments)
    assert done.returncode == 1
    assert says in done.stderr


def test_metrics_say_that_the_database_is_away(tmp_path):
    servers = {"DATABASE_URL": f"postgres://me@{DEAD}/name", "REDIS_URL": f"redis://{DEAD}", "SECRET_KEY": "known"}
    with web(tmp_path / "data", **servers) as url:
        status, body = get(f"{url}metrics")
    assert status == 200
    assert "\nproofdeck_database_up 0.0\n" in body
    assert "\ndjango_http_requests_before_middlewares_total" in body
