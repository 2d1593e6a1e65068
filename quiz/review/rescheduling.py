"""All cards of a learner put under other settings: at once where they are few, otherwise by the worker.

A card takes some milliseconds, because its whole log is replayed; a request must not take longer than a second or two.
"""

from contextlib import suppress
from functools import partial

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from labs.broker import BrokerDown, send
from quiz.models import Rescheduling, Scheduling
from quiz.review.services import BATCH, cards_reschedule, reschedule_batch, studied_cards

TASK = "worker.reschedule"
# Cards that a request reschedules itself.
AT_ONCE = 500


def reschedule(user: User, scheduling: Scheduling) -> int | None:
    """How many cards got another date; None when the worker sees to it. The last wish counts."""
    total = studied_cards(user.pk).count()
    if total <= AT_ONCE:
        Rescheduling.objects.filter(owner=user).delete()
        return cards_reschedule(user, scheduling)
    anew = {"scheduling": scheduling, "total": total, "done": 0, "moved": 0, "last_card": 0, "finished_at": None}
    Rescheduling.objects.update_or_create(owner=user, defaults=anew)
    transaction.on_commit(partial(rescheduling_ring, user.pk))
    return None


def rescheduling_ring(owner_id: int) -> None:
    """Tell the workers. The row is the truth, so a broker that is down loses nothing: it is rung for again later."""
    with suppress(BrokerDown):
        send(TASK, owner_id)


def reschedulings_ring_waiting() -> None:
    """For those asked for while the broker was down. A bell too many does no harm."""
    for owner_id in Rescheduling.objects.filter(finished_at=None).values_list("pk", flat=True):
        rescheduling_ring(owner_id)


@transaction.atomic
def rescheduling_go_on(owner_id: int) -> bool:
    """Reschedule the next cards; False when none is left.

    The row is locked and says how far it is, so a message that comes twice, or again after a worker died, does no work
    twice; and a wish that comes meanwhile begins anew with the next batch.
    """
    waiting = Rescheduling.objects.select_for_update(of=("self",)).select_related("scheduling", "owner")
    found = waiting.filter(owner=owner_id, finished_at=None).first()
    if found is None:
        return False
    left = studied_cards(owner_id).filter(pk__gt=found.last_card)
    ids = list(left.values_list("pk", flat=True)[:BATCH])
    if ids:
        found.moved += reschedule_batch(found.owner, ids, found.scheduling)
        found.done += len(ids)
        found.last_card = ids[-1]
    else:
        found.finished_at = timezone.now()
    found.save()
    return bool(ids)


def rescheduling_of(user: User) -> Rescheduling | None:
    """The last one that the worker was asked for, with how far it is."""
    return Rescheduling.objects.filter(owner=user.pk).first()
