"""The files in deploy/ say what the code knows; deploy/lint (in CI) checks that their own programs can read them."""

import http.server
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from config.environment import READ, passwords
from tests.stack.processes import free_port, get, need, until

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "proofdeck"]
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
GUIDE = (ROOT / "docs" / "operator.md").read_text()
UNITS = sorted((DEPLOY / "systemd").rglob("*.service")) + sorted((DEPLOY / "systemd").rglob("*.conf"))
# What Python, torch and systemd read, not our settings.
NOT_OURS = {"HOME", "PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "QUEUES"}


def assigned(text: str) -> set[str]:
    return {word.partition("=")[0] for word in shlex.split(text) if "=" in word}


def unit_lines(key: str) -> list[str]:
    lines = [line for path in UNITS for line in path.read_text().splitlines()]
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def test_every_variable_is_one_that_the_settings_read():
    image = CONTAINERFILE.split("FROM ")[2].split("ENV ")[1].split("\nWORKDIR")[0]
    example = re.findall(r"^([A-Z_]+)=", (DEPLOY / "proofdeck.env.example").read_text(), re.MULTILINE)
    compose = {name for ours in OURS for name in SERVICES[ours]["environment"]}
    units = {name for line in unit_lines("Environment") for name in assigned(line)}
    for found in (assigned(image.replace("\\\n", "")), set(example), compose, units):
        assert found - NOT_OURS
        assert found - NOT_OURS - READ == set()


def test_every_command_exists():
    known = set(get_commands())
    compose = {SERVICES[name]["command"][0] for name in OURS}
    checks = {
        SERVICES[name]["healthcheck"]["test"][3] for name in OURS if "test" in SERVICES[name].get("healthcheck", {})
    }
    units = {line.split("manage.py ")[1].split()[0] for line in unit_lines("ExecStart")}
    image = {json.loads(CONTAINERFILE.rsplit("\nCMD ")[1])[0], *re.findall(r'"manage.py", "(\w+)"', CONTAINERFILE)}
    guide = set(re.findall(r"manage\.py ([a-z_]+)", GUIDE)) | set(re.findall(r"--rm [a-z-]+ ([a-z_]+)", GUIDE))
    for found in (compose, checks, units, image, guide):
        assert found
        assert found - known == set()


def test_secrets_come_from_files_everywhere():
    named = {name for name in READ if name.endswith("_FILE")} - {"GRADER_API_KEY_FILE"}  # of a service few sites use
    assert named <= set(SERVICES["web"]["environment"])
    assert named <= {name for line in unit_lines("Environment") for name in assigned(line)}
    assert set(COMPOSE["secrets"]) >= {name.removesuffix("_FILE").lower() for name in named}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined_limited_and_started_again(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["restart"] == ("no" if name == "prepare" else "unless-stopped")
    assert ":latest" not in service["image"]


def test_database_and_broker_are_reached_from_inside_alone():
    assert COMPOSE["networks"]["backend"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["backend"]
        assert "ports" not in SERVICES[name]


def test_a_run_that_wants_too_much_meets_its_own_limit_first():
    example = (DEPLOY / "proofdeck.env.example").read_text()
    limit = int(re.search(r"^RUN_MEMORY_LIMIT_MB=(\d+)", example, re.MULTILINE)[1])
    for name in ("worker-cpu", "worker-gpu"):
        assert int(SERVICES[name]["deploy"]["resources"]["limits"]["memory"].removesuffix("g")) * 1024 > limit


def test_the_image_has_the_client_of_the_server_that_it_backs_up():
    server = SERVICES["postgres"]["image"].split(":")[1].split("-")[0]
    assert f"postgresql-client-{server}" in CONTAINERFILE


def image_tree(target: Path) -> Path:
    """What the build copies: the exceptions of .dockerignore."""
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        source = ROOT / line[1:]
        if line.startswith("!"):
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target / source.name)
    return target


@pytest.mark.slow
def test_what_the_image_holds_is_enough(tmp_path):
    tree = tmp_path / "app"
    tree.mkdir()
    image_tree(tree)
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data"), "PYTHONDONTWRITEBYTECODE": "1"}
    names = ("check", "migrate", "import_content", "list_labs", "collectstatic --noinput")
    for name in names:
        command = [sys.executable, "manage.py", *name.split()]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def make_secrets(folder: Path) -> dict[str, str]:
    shutil.copy(DEPLOY / "make-secrets", folder)
    subprocess.run([folder / "make-secrets"], check=True, cwd="/")
    return {path.name: path.read_text().strip() for path in (folder / "secrets").iterdir()}


def test_secrets_are_made_once_and_fit_together(tmp_path):
    made = make_secrets(tmp_path)
    assert set(made) == set(COMPOSE["secrets"])
    assert min(len(made[name]) for name in ("secret_key", "metrics_token", "postgres_password", "redis_password")) == 64
    assert passwords(made["database_url"])[0] == made["postgres_password"]
    assert passwords(made["redis_url"])[0] == made["redis_password"]
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert make_secrets(tmp_path) == made


def test_redis_starts_with_the_settings_and_the_password_of_the_file(tmp_path):
    need(shutil.which("redis-server"), "redis-server")
    (tmp_path / "password").write_text("of-the-file\n")
    script = SERVICES["redis"]["command"][2].replace("$$", "$")
    script = script.replace("/run/secrets/redis_password", str(tmp_path / "password"))
    script = script.replace("dir /data", f"dir {tmp_path}\nport 0\nunixsocket {tmp_path}/s")
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.DEVNULL)
    try:
        until((tmp_path / "s").exists, seconds=10, what="Redis")
        with Redis(unix_socket_path=str(tmp_path / "s"), password="of-the-file", decode_responses=True) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        cmdline = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert cmdline.startswith("redis-server")  # it hears the signals itself
        assert "of-the-file" not in cmdline
    finally:
        process.terminate()
        assert process.wait(10) == 0


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the headers that reached it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({name.lower(): value for name, value in self.headers.items()}).encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def proxy(tmp_path):
    """URL of Caddy with our file, in front of a server that says what it got."""
    need(shutil.which("caddy"), "caddy")
    echo = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{free_port()}"
    environment = os.environ | {"SITE_NAME": url, "UPSTREAM": f"127.0.0.1:{echo.server_port}", "HOME": str(tmp_path)}
    shutil.copy(DEPLOY / "Caddyfile", tmp_path)
    with (tmp_path / "Caddyfile").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write("{\n\tadmin off\n}\n" + text)  # its port may be taken on this machine
    command = ["caddy", "run", "--config", tmp_path / "Caddyfile", "--adapter", "caddyfile"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: get(f"{url}/")[0] == 200, seconds=15, what="Caddy")
        yield url
    finally:
        process.terminate()
        process.wait(10)
        echo.shutdown()


def test_the_proxy_keeps_metrics_inside_and_says_who_really_asks(proxy):
    assert get(f"{proxy}/metrics")[0] == 404
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Real-IP": "203.0.113.9"}
    with urllib.request.urlopen(urllib.request.Request(f"{proxy}/", headers=forged), timeout=5) as response:  # noqa: S310
        got, policy = json.load(response), response.headers["Permissions-Policy"]
        assert "Caddy" not in (response.headers["Server"] or "")
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-proto"] == "http"
    assert "x-real-ip" not in got
    assert len(got["x-request-id"]) == 36
    assert "camera=()" in policy


def test_alerts_and_guide_name_series_that_exist(client, db):
    client.get("/healthz")
    text = client.get("/metrics").content.decode()
    families = {family.name for family in text_string_to_metric_families(text)}
    named = set(re.findall(r"\b(?:proofdeck|django)_[a-z_]+\b", (DEPLOY / "prometheus" / "alerts.yaml").read_text()))
    named |= set(re.findall(r"`((?:proofdeck|django)_[a-z_]+)", GUIDE))
    known = families | {f"{name}_{part}" for name in families for part in ("total", "count", "sum", "bucket")}
    assert named
    assert named - known == set()
