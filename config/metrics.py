"""`/metrics`: what Prometheus reads.

Requests are counted in this process as they come. Everything about the site (queues, runs, workers, reviews) is read
from the database when Prometheus asks, with a fixed number of queries, so that workers need no door of their own.
Labels are views, methods, labs, queues, workers and outcomes: never a user, a run or a path.
"""

import hmac
import ipaddress
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, F, Min, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_prometheus.middleware import PrometheusAfterMiddleware
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from labs.models import Machine, Run, RunPart
from labs.services.machines import is_live
from quiz.models import DayTally

logger = logging.getLogger(__name__)

# A run whose end is committed later than this after its `finished_at` is not counted.
LATEST_COMMIT = timedelta(minutes=5)
# Seconds: from a formula to a night on a GPU.
RUN_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600)
RUN_OUTCOMES = (Run.SUCCEEDED, Run.FAILED, Run.CANCELLED, Run.TIMED_OUT)
# What a proxy adds: then the address is the proxy's, and says nothing about who asks.
PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP")


class RequestMetrics(PrometheusAfterMiddleware):
    """Counts requests by view. Only known methods become labels, or strangers could make series without end."""

    def label_metric(
        self, metric: Any, request: HttpRequest, response: HttpResponse | None = None, **labels: str
    ) -> Any:
        if "method" in labels:
            labels["method"] = self._method(request)
        return super().label_metric(metric, request, response, **labels)


class SiteCollector:
    """The state of the site, read from the database. Registered once a process, asked once a scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.durations = Histogram(
            "proofdeck_run_seconds",
            "Seconds from start to end of the runs that ended since this process started.",
            ["lab", "outcome"],
            buckets=RUN_BUCKETS,
            registry=self.registry,
        )
        self.counted_from = self.looked_at = timezone.now()
        self.seen: set[int] = set()
        self.lock = threading.Lock()

    def describe(self) -> list[Metric]:
        """Nothing: otherwise registering would ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        is_up = GaugeMetricFamily("proofdeck_database_up", "1 when the database answered this scrape.")
        try:
            with self.lock:
                site = [*self._queues(), *self._workers(), *self._reviews()]
                self._count_ended_runs()
        except (DatabaseError, InterfaceError) as e:
            logger.warning("The database does not answer a scrape: %s", e)
            site = []
        is_up.add_metric([], float(bool(site)))
        yield is_up
        yield from site
        yield from self.registry.collect()

    def _queues(self) -> list[Metric]:
        depth = GaugeMetricFamily("proofdeck_runs", "Runs that wait or run.", labels=["queue", "status"])
        waiting = GaugeMetricFamily(
            "proofdeck_oldest_queued_seconds",
            "How long the first in line has waited, or 0.",
            labels=["queue"],
        )
        live = Run.objects.filter(status__in=Run.LIVE).order_by().values_list("queue", "status")
        counts, oldest, now = {}, {}, timezone.now()
        for queue, status, n, since in live.annotate(n=Count("pk"), since=Min("created_at")):
            counts[queue, status], oldest[queue, status] = n, since
        for queue, _ in Run.QUEUES:
            for status in Run.LIVE:
                depth.add_metric([queue, status], counts.get((queue, status), 0))
            since = oldest.get((queue, Run.QUEUED), now)
            waiting.add_metric([queue], (now - since).total_seconds())
        return [depth, waiting]

    def _workers(self) -> list[Metric]:
        """Live workers. A busy one has a run or a part of one: its mean is the utilisation."""
        workers = GaugeMetricFamily("proofdeck_workers", "Live workers.", labels=["queue"])
        busy = GaugeMetricFamily("proofdeck_worker_busy", "1 while the worker has a run.", labels=["worker"])
        gpus = GaugeMetricFamily("proofdeck_worker_gpus", "GPUs that the worker announced.", labels=["worker"])
        machines = list(Machine.objects.filter(is_live()))
        at_work = set(_holders(Run.objects.all()).union(_holders(RunPart.objects.all())))
        for queue, _ in Run.QUEUES:
            workers.add_metric([queue], sum(queue in machine.queues for machine in machines))
        for machine in machines:
            busy.add_metric([machine.name], float(machine.name in at_work))
            gpus.add_metric([machine.name], len(machine.gpus))
        return [workers, busy, gpus]

    def _reviews(self) -> list[Metric]:
        total = GaugeMetricFamily("proofdeck_reviews", "Grades given to cards, of all accounts that exist.")
        today = GaugeMetricFamily("proofdeck_reviews_today", "Grades given on this day of the site's time zone.")
        grades = F("again") + F("hard") + F("good") + F("easy")
        sums = DayTally.objects.aggregate(all=Sum(grades), today=Sum(grades, filter=Q(day=timezone.localdate())))
        total.add_metric([], sums["all"] or 0)
        today.add_metric([], sums["today"] or 0)
        return [total, today]

    def _count_ended_runs(self) -> None:
        """Count each run once: what ended since the last look, and what was committed late."""
        now = timezone.now()
        since = max(self.counted_from, self.looked_at - LATEST_COMMIT)
        ended = Run.objects.filter(origin=Run.SITE, finished_at__gte=since, status__in=RUN_OUTCOMES).order_by()
        recent = set()
        for pk, lab, status, began, end in ended.values_list("pk", "lab_slug", "status", "started_at", "finished_at"):
            recent.add(pk)
            if pk not in self.seen:
                seconds = (end - began).total_seconds() if began and end else 0
                self.durations.labels(lab, status).observe(seconds)
        self.seen, self.looked_at = recent, now


def _holders(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.filter(status=Run.RUNNING).order_by().values_list("worker", flat=True)


collector = SiteCollector()
REGISTRY.register(collector)


def is_direct_loopback(request: HttpRequest) -> bool:
    """Whether a program on this machine asks us itself, not through a proxy that runs here as well."""
    if settings.HTTPS or any(name in request.headers for name in PROXY_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def has_token(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").encode()
    return bool(settings.METRICS_TOKEN) and hmac.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode())


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For the holder of METRICS_TOKEN, and for this machine itself; for everybody else the page does not exist."""
    if has_token(request) or is_direct_loopback(request):
        return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
    if settings.METRICS_TOKEN:
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    return HttpResponse(status=404)
