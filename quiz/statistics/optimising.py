"""Fitting the scheduler's parameters to a learner's log: asked for here, computed by the worker, applied here."""

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext as _

from labs.broker import BrokerDown, send
from quiz.models import Optimisation, Scheduling
from quiz.review import rescheduling
from quiz.review.services import settings_change

TASK = "worker.optimise"
# Of the library: with fewer answers on later days it returns its defaults.
LEAST_REVIEWS = 512
TIME_LIMIT = 20 * 60  # seconds


class NothingToApply(RuntimeError):
    """The fit has not succeeded, or does not predict better."""


def optimisation_start(user: User) -> Optimisation:
    """Queue a fit and ring for a worker; the one that is waiting or running where there is one.

    With a broker that is down the row waits; it is rung for again when a worker starts.
    """
    try:
        with transaction.atomic():
            found = Optimisation.objects.create(owner=user)
    except IntegrityError:
        return Optimisation.objects.get(owner=user, status__in=Optimisation.LIVE)
    optimisation_ring(found.pk)
    return found


def optimisation_ring(optimisation_id: int) -> None:
    """Tell the workers. The row is the truth, so a broker that is down loses nothing: it is rung for again later."""
    with suppress(BrokerDown):
        send(TASK, optimisation_id)


def optimisations_ring_waiting() -> None:
    """For those queued while the broker was down, and those that run longer than any worker lets them.

    A bell too many does no harm.
    """
    lost = Q(status=Optimisation.RUNNING, created_at__lt=timezone.now() - timedelta(seconds=2 * TIME_LIMIT))
    for pk in Optimisation.objects.filter(lost | Q(status=Optimisation.QUEUED)).values_list("pk", flat=True):
        optimisation_ring(pk)


def optimisation_claim(optimisation_id: int) -> Optimisation | None:
    """Take it for execution; None when it has ended.

    A running one is taken too: its message comes again when its worker has died.
    """
    live = Optimisation.objects.filter(pk=optimisation_id, status__in=Optimisation.LIVE)
    return Optimisation.objects.get(pk=optimisation_id) if live.update(status=Optimisation.RUNNING) else None


def optimisation_finish(found: Optimisation, **values: Any) -> bool:
    """Store the result; False when somebody else already did."""
    running = Optimisation.objects.filter(pk=found.pk, status=Optimisation.RUNNING)
    return bool(running.update(status=Optimisation.SUCCEEDED, finished_at=timezone.now(), **values))


def optimisation_fail(found: Optimisation, code: str, **facts: float) -> bool:
    """Keep why it failed as a code with its facts; `reason_text` says it in the reader's language."""
    running = Optimisation.objects.filter(pk=found.pk, status=Optimisation.RUNNING)
    reason = json.dumps({"code": code, **facts})
    return bool(running.update(status=Optimisation.FAILED, finished_at=timezone.now(), reason=reason))


def reason_text(found: Optimisation) -> str:
    """What went wrong, and what to do."""
    if not found.reason:
        return ""
    facts = json.loads(found.reason)
    if facts["code"] == "few":
        return _(
            "%(reviews)s of your answers came a day or more after the one before; %(needed)s are needed. %(missing)s "
            "more, and it can be fitted. Until then the defaults, fitted to many learners, are the better choice."
        ) % {**facts, "missing": facts["needed"] - facts["reviews"]}
    if facts["code"] == "time":
        return (
            _("It took longer than %(minutes)s minutes and was stopped. Try again when the machine is less busy.")
            % facts
        )
    return _("The computation failed. The worker's log has the cause; your log and your settings are untouched.")


def optimisation_for_user(user: User, optimisation_id: int) -> Optimisation:
    found = Optimisation.objects.filter(owner=user.pk, pk=optimisation_id).first()
    if found is None:
        raise Http404(f"No fit {optimisation_id} of yours")
    return found


def is_better(found: Optimisation) -> bool:
    """Whether the fitted parameters predict better than those in use when it was fitted."""
    return found.status == Optimisation.SUCCEEDED and found.after["log_loss"] < found.before["log_loss"]


def optimisation_apply(user: User, found: Optimisation, *, reschedule: bool) -> Scheduling:
    """Use the fitted parameters from now on; with `reschedule` as if they had always been in use. Twice is once."""
    if not is_better(found):
        raise NothingToApply(
            _("These parameters do not predict better than the ones in use, so there is nothing to apply.")
        )
    with transaction.atomic():
        scheduling = settings_change(user, parameters=found.parameters).scheduling
        Optimisation.objects.filter(pk=found.pk).update(applied_as=scheduling)
    if reschedule:
        rescheduling.reschedule(user, scheduling)
    return scheduling
