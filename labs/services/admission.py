"""Whether a run may start here and now, beside everything that claiming it asks."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from labs.models import Run
from labs.needs import lack
from labs.services.runs import run_claim


def run_admit(run_id: int, *, worker: str, memory_mb: int, gpus: list[dict[str, Any]]) -> Run | None:
    """Claim a waiting run, unless this machine lacks what it needs or its owner's other runs fill their share.

    A run that is not admitted stays in the queue, and idle workers ring for it again.
    """
    with transaction.atomic():
        run = Run.objects.select_related("owner").filter(pk=run_id, status=Run.QUEUED).first()
        if run is None or lack(run.needs, memory_mb=memory_mb, gpus=gpus) or _has_enough_running(run.owner):
            return None
        return run_claim(run_id, worker=worker)


def _has_enough_running(owner: User | None) -> bool:
    """Whether one user's runs fill their share. Locks the user: two workers admit runs of one user in turn."""
    if owner is None or owner.is_staff:
        return False
    User.objects.select_for_update().get(pk=owner.pk)
    return Run.objects.filter(owner=owner, status=Run.RUNNING).count() >= settings.USER_MAX_RUNNING
