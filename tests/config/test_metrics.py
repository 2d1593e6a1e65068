"""What Prometheus reads, who may read it, and that reading costs the same on a large site."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from config.metrics import SiteCollector
from labs.models import Run
from quiz.models import DayTally
from tests.builders import make_machine, make_run

TOKEN = "a-long-token"
QUERIES = 5


@pytest.fixture
def site(db) -> CollectorRegistry:
    """What a new process would say of the site."""
    registry = CollectorRegistry()
    registry.register(SiteCollector())
    return registry


def site_run(**values) -> Run:
    return make_run(**{"origin": Run.SITE, **values})


def ended(status: str, seconds: float, **values) -> Run:
    now = timezone.now()
    return site_run(status=status, started_at=now - timedelta(seconds=seconds), finished_at=now, **values)


def test_queues_are_counted_by_status_and_empty_ones_are_zero(site):
    site_run(status=Run.QUEUED, created_at=timezone.now() - timedelta(minutes=5))
    site_run(status=Run.QUEUED)
    site_run(status=Run.RUNNING, queue=Run.GPU)
    value = site.get_sample_value
    assert value("proofdeck_runs", {"queue": "cpu", "status": "queued"}) == 2
    assert value("proofdeck_runs", {"queue": "gpu", "status": "running"}) == 1
    assert value("proofdeck_runs", {"queue": "gpu", "status": "queued"}) == 0
    assert 300 <= value("proofdeck_oldest_queued_seconds", {"queue": "cpu"}) < 310
    assert value("proofdeck_oldest_queued_seconds", {"queue": "gpu"}) == 0


def test_a_run_is_counted_once_by_lab_and_outcome(site):
    labels = {"lab": "rank-sweep", "outcome": "succeeded"}
    assert site.get_sample_value("proofdeck_run_seconds_count", labels) is None
    ended(Run.SUCCEEDED, 40)
    ended(Run.FAILED, 2)
    ended(Run.SUCCEEDED, 9, origin=Run.REFERENCE, preset="quick")  # not of this site
    for _ in range(2):
        assert site.get_sample_value("proofdeck_run_seconds_count", labels) == 1
        assert site.get_sample_value("proofdeck_run_seconds_sum", labels) == pytest.approx(40)
    assert site.get_sample_value("proofdeck_run_seconds_bucket", labels | {"le": "15.0"}) == 0
    assert site.get_sample_value("proofdeck_run_seconds_bucket", labels | {"le": "60.0"}) == 1
    assert site.get_sample_value("proofdeck_run_seconds_count", labels | {"outcome": "failed"}) == 1


def test_a_run_that_never_started_took_no_time(site):
    site_run(status=Run.CANCELLED, finished_at=timezone.now())
    labels = {"lab": "rank-sweep", "outcome": "cancelled"}
    assert site.get_sample_value("proofdeck_run_seconds_count", labels) == 1
    assert site.get_sample_value("proofdeck_run_seconds_sum", labels) == 0


def test_live_workers_are_counted_and_a_busy_one_is_seen(site):
    make_machine("cpu@a")
    make_machine("gpu@b", queues=["cpu", "gpu"], gpus=[{"name": "g", "memory_mb": 24000}])
    make_machine("cpu@gone", last_seen=timezone.now() - timedelta(hours=1))
    site_run(status=Run.RUNNING, worker="gpu@b")
    value = site.get_sample_value
    assert value("proofdeck_workers", {"queue": "cpu"}) == 2
    assert value("proofdeck_workers", {"queue": "gpu"}) == 1
    assert value("proofdeck_worker_busy", {"worker": "gpu@b"}) == 1
    assert value("proofdeck_worker_busy", {"worker": "cpu@a"}) == 0
    assert value("proofdeck_worker_busy", {"worker": "cpu@gone"}) is None
    assert value("proofdeck_worker_gpus", {"worker": "gpu@b"}) == 1


def test_reviews_are_counted_for_today_and_in_all(site, alice):
    today = timezone.localdate()
    DayTally.objects.create(owner=alice, day=today, good=3, again=1)
    DayTally.objects.create(owner=alice, day=today - timedelta(days=1), easy=2)
    assert site.get_sample_value("proofdeck_reviews_today") == 4
    assert site.get_sample_value("proofdeck_reviews") == 6


def test_a_scrape_costs_the_same_queries_on_any_site(site, alice):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            list(site.collect())
        return len(captured)

    assert queries() == QUERIES
    for n in range(20):
        make_machine(f"cpu@{n}")
        site_run(status=Run.QUEUED)
        ended(Run.FAILED, n)
        DayTally.objects.create(owner=alice, day=timezone.localdate() - timedelta(days=n))
    assert queries() == QUERIES


def test_a_database_that_is_away_is_a_number_and_not_an_error(site, monkeypatch):
    assert site.get_sample_value("proofdeck_database_up") == 1

    def refuse(self):
        raise DatabaseError("away")

    monkeypatch.setattr(SiteCollector, "_queues", refuse)
    assert site.get_sample_value("proofdeck_database_up") == 0
    assert site.get_sample_value("proofdeck_runs", {"queue": "cpu", "status": "queued"}) is None


@pytest.fixture
def token(settings) -> str:
    settings.METRICS_TOKEN = TOKEN
    return TOKEN


def test_this_machine_may_read(client, db):
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")
    assert "no-store" in response["Cache-Control"]
    names = {family.name for family in text_string_to_metric_families(response.content.decode())}
    assert {"proofdeck_database_up", "django_http_requests_latency_seconds_by_view_method"} <= names


@pytest.mark.parametrize("address", ["192.0.2.7", "", "::ffff:192.0.2.7"])
def test_another_machine_may_not_without_a_token(client, address):
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == 404


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto"])
def test_a_proxy_on_this_machine_does_not_open_it(client, header):
    assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 404


def test_behind_tls_every_reader_needs_the_token(client, settings):
    settings.HTTPS = True
    assert client.get("/metrics").status_code == 404


def test_the_holder_of_the_token_reads_from_anywhere(client, db, token):
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get("/metrics", headers=headers, REMOTE_ADDR="192.0.2.7").status_code == 200


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", TOKEN, "Basic " + TOKEN, "Bearer ä"])
def test_a_wrong_token_is_refused(client, token, given):
    response = client.get("/metrics", headers={"Authorization": given}, REMOTE_ADDR="192.0.2.7")
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")


def test_an_empty_token_opens_nothing(client, settings):
    settings.METRICS_TOKEN = ""
    headers = {"Authorization": "Bearer "}
    assert client.get("/metrics", headers=headers, REMOTE_ADDR="192.0.2.7").status_code == 404


def test_it_rejects_post(client):
    assert client.post("/metrics").status_code == 405


def test_requests_are_labelled_by_view_and_known_method_alone(client, db):
    client.get("/labs/?q=a-users-words")
    client.get("/no-such-place/12345/")
    client.generic("MADEUP", "/healthz")
    body = client.get("/metrics").content.decode()
    assert 'view="labs-labs"' in body
    for private in ("a-users-words", "no-such-place", "MADEUP"):
        assert private not in body
