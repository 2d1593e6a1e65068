"""The index of runs: chosen by lab, state, preset and origin, in an order of the reader's."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import F, QuerySet
from django.http import QueryDict

from labs.catalog import all_labs
from labs.models import Run
from labs.queries import visible_runs

OWN_PARAMETERS = "own"  # stands for no preset
ORIGINS = ("mine", "reference")
SPAN = F("finished_at") - F("started_at")
ORDERS: dict[str, Any] = {
    "newest": "-pk",
    "oldest": "pk",
    "lab": "lab_slug",
    "longest": SPAN.desc(nulls_last=True),
    "shortest": SPAN.asc(nulls_last=True),
}


@dataclass(frozen=True)
class Choice:
    """What a reader asked for; whatever is not known counts as not asked for."""

    lab: str
    status: str
    preset: str
    origin: str
    order: str


def choice_of(query: QueryDict) -> Choice:
    def one_of(name: str, allowed: Any, default: str = "") -> str:
        value = query.get(name, "")
        return value if value in allowed else default

    return Choice(
        lab=one_of("lab", all_labs()),
        status=one_of("status", dict(Run.STATUSES)),
        preset=one_of("preset", ("quick", "standard", "gpu", OWN_PARAMETERS)),
        origin=one_of("origin", ORIGINS),
        order=one_of("order", ORDERS, "newest"),
    )


def chosen_runs(user: User, choice: Choice) -> QuerySet[Run]:
    runs = visible_runs(user).select_related("owner")
    preset = "" if choice.preset == OWN_PARAMETERS else choice.preset
    wanted: dict[str, Any] = {"lab_slug": choice.lab, "status": choice.status}
    runs = runs.filter(**{name: value for name, value in wanted.items() if value})
    if choice.preset:
        runs = runs.filter(preset=preset)
    if choice.origin:
        runs = runs.filter(origin=Run.REFERENCE) if choice.origin == "reference" else runs.filter(owner=user)
    return runs.order_by(ORDERS[choice.order], "-pk")
