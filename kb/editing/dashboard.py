"""What waits for the editors, on the admin's first page."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from kb.models import ErrorReport, Point, Status
from kb.text import LANGUAGES

SHOWN = 8


@dataclass(frozen=True)
class Panel:
    """One heap of work: how much there is, and (label, address) of the first."""

    title: str
    total: int
    rows: list[tuple[str, str]]
    url: str = ""


# Each app adds its own in AppConfig.ready(); every panel costs two queries, whatever there is.
panels: list[Callable[[], Panel]] = []


def change_url(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def panel(title: str, rows: QuerySet, url: str = "") -> Panel:
    return Panel(title, rows.count(), [(str(row), change_url(row)) for row in rows[:SHOWN]], url)


def without_a_language(rows: QuerySet, fields: Iterable[str]) -> QuerySet:
    """Rows in which a text exists in one language only."""
    wanted = Q()
    for field in fields:
        for here, there in (LANGUAGES, LANGUAGES[::-1]):
            wanted |= Q(**{f"{field}_{here}": ""}) & ~Q(**{f"{field}_{there}": ""})
    return rows.filter(wanted)


def untranslated_points() -> Panel:
    return panel(_("Points without a language"), without_a_language(Point.objects.all(), ("title", *Point.PARTS)))


def waiting_points() -> Panel:
    return panel(_("Points not published yet"), Point.objects.filter(status__in=[Status.DRAFT, Status.REVIEW]))


def open_reports() -> Panel:
    reports = ErrorReport.objects.filter(status=ErrorReport.OPEN)
    return panel(_("Reported errors"), reports, f"{reverse('admin:kb_errorreport_changelist')}?status__exact=open")
