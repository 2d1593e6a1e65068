"""What the health pages say for each part; tests/stack asks a real process whose parts are really gone."""

import time

import pytest

from config import health
from config.settings import VERSION


@pytest.fixture
def parts(monkeypatch):
    """Three parts that are well; a test replaces one."""
    well = dict.fromkeys(("database", "broker", "worker"), lambda: None)
    monkeypatch.setattr(health, "PARTS", well)
    return well


def fail() -> None:
    raise ConnectionError("redis://:hidden-word@host refused")


def test_healthz_says_the_version(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "version": VERSION})


def test_readyz_names_every_part(client, parts):
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["parts"] == {"database": "ok", "broker": "ok", "worker": "ok"}


@pytest.mark.parametrize("part", ["database", "broker", "worker"])
def test_readyz_names_the_part_that_fails_and_no_secret(client, parts, part):
    parts[part] = fail
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["failing"] == [part]
    assert response.json()["parts"][part] == "ConnectionError"
    assert "hidden-word" not in response.content.decode()


def test_readyz_does_not_wait_for_a_part_that_hangs(client, parts, monkeypatch):
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    parts["broker"] = lambda: time.sleep(0.5)
    began = time.monotonic()
    response = client.get("/readyz")
    assert time.monotonic() - began < 0.4
    assert response.json()["failing"] == ["broker"]
    assert response.json()["parts"]["broker"] == "no answer within 0.05 s"


def test_the_database_check_is_one_query(db, django_assert_num_queries):
    with django_assert_num_queries(1):
        health.check_database()


@pytest.mark.parametrize("url", ["/healthz", "/readyz"])
def test_they_only_read_and_are_never_cached(client, parts, url):
    assert client.post(url).status_code == 405
    response = client.get(url)
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies
