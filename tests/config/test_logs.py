"""What a log line says, what it belongs to, and what it must never say."""

import json
import logging
import sys

import pytest

from config import environment
from config.environment import env_secret, passwords
from config.logs import JsonFormatter, Redactor, TextFormatter, request_id
from labs.broker import app

SECRETS = ["hidden-word", "pass/word"]


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("some.name").makeRecord("some.name", logging.INFO, "f.py", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def as_json(made: logging.LogRecord) -> dict[str, object]:
    return json.loads(JsonFormatter(secrets=SECRETS).format(made))


def failed(message: str) -> logging.LogRecord:
    made = record("it failed")
    try:
        raise ConnectionError(message)
    except ConnectionError:
        made.exc_info = sys.exc_info()
    return made


def test_a_json_line_has_time_level_logger_message_and_what_was_passed_on_purpose():
    line = as_json(record("run %s", 7, run=7, lab="rank-sweep", unknown="x"))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "INFO", "logger": "some.name", "message": "run 7", "run": 7, "lab": "rank-sweep"}


def test_a_line_within_a_request_has_its_id():
    token = request_id.set("abcdefgh")
    try:
        assert as_json(record("x"))["request"] == "abcdefgh"
    finally:
        request_id.reset(token)
    assert "request" not in as_json(record("x"))


def test_a_line_within_a_task_has_the_id_of_its_run():
    lines = []

    @app.task(bind=True)
    def any_task(self, run_id: int) -> None:
        lines.append(as_json(record("computing")))

    any_task.apply(args=[42], task_id="the-task")
    assert (lines[0]["task"], lines[0]["run"]) == ("the-task", 42)


@pytest.mark.parametrize("text", ["redis://:hidden-word@host", "redis://:pass%2Fword@host", "say pass/word"])
@pytest.mark.parametrize("formatter", [JsonFormatter(secrets=SECRETS), TextFormatter("%(message)s", secrets=SECRETS)])
def test_no_secret_reaches_a_line_in_whatever_form(formatter, text):
    for made in (record(text), record("%s", text), failed(text)):
        line = formatter.format(made)
        assert "[secret]" in line
        assert "hidden-word" not in line
        assert "word@" not in line


def test_nothing_is_taken_out_where_there_is_no_secret():
    assert Redactor([])("a b") == "a b"
    assert Redactor(["", "ab"])("absolutely") == "absolutely"


def test_passwords_are_found_in_urls():
    assert passwords("", "redis://host") == ["", "", "", ""]
    assert set(passwords("postgres://me:a%2Fb@host/name")) == {"a%2Fb", "a/b"}


def test_every_secret_that_is_read_is_known_to_the_log(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("hidden-in-a-file\n")
    monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "file"))
    monkeypatch.setenv("SOME_URL", "redis://:hidden-in-a-url@host")
    assert (env_secret("SOME_KEY"), env_secret("SOME_URL")) == ("hidden-in-a-file", "redis://:hidden-in-a-url@host")
    assert {"hidden-in-a-file", "hidden-in-a-url"} <= environment.SECRETS
    environment.READ.difference_update({"SOME_KEY", "SOME_KEY_FILE", "SOME_URL", "SOME_URL_FILE"})


def test_the_settings_take_their_own_secrets_out(settings):
    formatter = logging.getLogger().handlers[0].formatter or TextFormatter("%(message)s", secrets=settings.SECRETS)
    assert settings.SECRET_KEY in settings.SECRETS
    assert settings.SECRET_KEY not in formatter.format(record("the key is %s", settings.SECRET_KEY))


def test_every_answer_carries_the_id_of_its_request(client):
    ours = client.get("/healthz")["X-Request-ID"]
    assert len(ours) == 32
    assert client.get("/healthz")["X-Request-ID"] != ours


@pytest.mark.parametrize(("given", "is_kept"), [("0f1e2d3c-a", True), ("short", False), ("a\tforged line", False)])
def test_an_id_from_the_proxy_is_kept_when_it_looks_like_one(client, given, is_kept):
    assert (client.get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"] == given) is is_kept


def test_a_request_is_one_line_without_its_query(client, caplog):
    caplog.set_level(logging.DEBUG, logger="config.requests")
    client.get("/login/?next=/secret-place/")
    client.get("/healthz")
    page, probe = caplog.records
    assert (page.levelname, page.getMessage()) == ("INFO", "GET /login/ 200")
    assert (page.status, page.path) == (200, "/login/")
    assert page.milliseconds > 0
    assert probe.levelname == "DEBUG"
