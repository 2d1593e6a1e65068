"""Settings come from the environment; a wrong value stops the start and names its variable."""

import importlib.util
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import embedded
from config.environment import READ, database_from_url, env_bool, env_int, env_list, env_secret, env_str

ROOT = Path(__file__).resolve().parents[2]


def load_settings(data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that reads the settings with these variables and no others."""
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(data_dir), **variables}
    code = "import config.settings as s; print(s.SECRET_KEY); print(s.DATABASES['default']['ENGINE'])"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "yes"),
        ("HTTPS", "1"),
        ("PORT", "0"),
        ("PORT", "http"),
        ("RUN_TIME_LIMIT", "-5"),
        ("RUN_MEMORY_LIMIT_MB", "lots"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "mysql://host/name"),
        ("SECRET_KEY_FILE", "/nowhere/key"),
        ("TIME_ZONE", "Mars/Olympus"),
        ("REDIS_URL", "http://host"),
    ],
)
def test_a_wrong_value_stops_the_start_and_names_the_variable(tmp_path, name, value):
    secret = {} if name == "SECRET_KEY_FILE" else {"SECRET_KEY": "x"}
    result = load_settings(tmp_path, **secret, **{name: value})
    assert result.returncode != 0
    assert "ImproperlyConfigured" in result.stderr
    assert name in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_servers_need_a_secret_key(tmp_path, name):
    url = {"DATABASE_URL": "postgres://me@host/name", "REDIS_URL": "redis://host"}[name]
    refused = load_settings(tmp_path, **{name: url})
    assert refused.returncode != 0
    assert refused.stderr.splitlines()[-1].endswith("is required when DATABASE_URL or REDIS_URL is set")
    assert load_settings(tmp_path, SECRET_KEY="given", **{name: url}).stdout.startswith("given\n")


def test_an_embedded_start_makes_its_secret_key_once(tmp_path):
    first, second = load_settings(tmp_path), load_settings(tmp_path)
    assert first.stdout == second.stdout
    assert first.stdout.splitlines()[0] == (tmp_path / "secret_key").read_text()
    assert first.stdout.splitlines()[1] == "django.db.backends.sqlite3"


def test_secrets_may_come_from_files(tmp_path):
    (tmp_path / "key").write_text("from a file\n")
    result = load_settings(tmp_path, SECRET_KEY_FILE=str(tmp_path / "key"))
    assert result.stdout.startswith("from a file\n")


def test_the_operator_guide_lists_every_variable_and_no_other():
    table = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "operator.md").read_text(), re.MULTILINE)
    assert len(table) == len(set(table))
    assert set(table) == READ


def test_an_empty_variable_means_the_default(monkeypatch):
    monkeypatch.setenv("SOME_NAME", "")
    assert env_str("SOME_NAME", "default") == "default"
    assert env_bool("SOME_NAME", True) is True
    assert env_int("SOME_NAME", 7, low=1, high=9) == 7
    assert env_list("SOME_NAME", ["a", "b"]) == ["a", "b"]
    READ.discard("SOME_NAME")


def test_lists_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("SOME_NAME", " a, b ,,c")
    assert env_list("SOME_NAME", []) == ["a", "b", "c"]
    READ.discard("SOME_NAME")


def test_a_wrong_database_url_is_not_repeated_with_its_password():
    with pytest.raises(ImproperlyConfigured) as refused:
        database_from_url("DATABASE_URL", "oracle://me:hidden-word@host/name")
    assert "hidden-word" not in str(refused.value)


def test_a_missing_secret_file_is_named(monkeypatch):
    monkeypatch.setenv("SOME_NAME_FILE", "/nowhere/x")
    with pytest.raises(ImproperlyConfigured, match="SOME_NAME_FILE='/nowhere/x': No such file"):
        env_secret("SOME_NAME")
    READ.difference_update({"SOME_NAME", "SOME_NAME_FILE"})


def test_a_kept_secret_is_for_the_owner_and_stays(tmp_path):
    path = tmp_path / "new" / "secret"
    secret = embedded.kept_secret(path)
    assert len(secret) >= 40
    assert embedded.kept_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_two_starts_at_once_keep_the_same_secret(tmp_path):
    barrier, secrets = threading.Barrier(8), []

    def keep() -> None:
        barrier.wait()
        secrets.append(embedded.kept_secret(tmp_path / "secret"))

    threads = [threading.Thread(target=keep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8
    assert len(set(secrets)) == 1


def test_a_long_data_path_gets_a_short_socket(tmp_path):
    assert embedded.valkey_socket(tmp_path) == tmp_path / "valkey" / "valkey.sock"
    long = tmp_path / ("x" * 120)
    assert len(str(embedded.valkey_socket(long))) <= embedded.MAX_SOCKET_PATH
    assert embedded.valkey_socket(long) != embedded.valkey_socket(long / "y")


def test_the_settings_module_is_one_file():
    assert importlib.util.find_spec("config.settings").submodule_search_locations is None
