"""What workers say of themselves."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from labs.models import Machine

# A worker that has been silent for longer is forgotten.
KEPT = timedelta(days=1)


def is_live() -> Q:
    """Which machines have a live worker: it was seen within two leases, by the clock of the database."""
    return Q(last_seen__gte=Now() - timedelta(seconds=2 * settings.RUN_LEASE_SECONDS))


@transaction.atomic
def machine_announce(
    *,
    name: str,
    host: str,
    queues: list[str],
    cores: int,
    memory_mb: int,
    gpus: list[dict[str, Any]],
    versions: dict[str, str],
) -> None:
    """What a worker that has just started has."""
    facts = {"host": host, "queues": queues, "cores": cores, "memory_mb": memory_mb, "gpus": gpus, "versions": versions}
    Machine.objects.filter(last_seen__lt=Now() - KEPT).delete()
    Machine.objects.update_or_create(name=name, defaults=facts | {"started_at": Now(), "last_seen": Now()})


def machine_seen(*, name: str) -> bool:
    """A worker is there, by the clock of the database. False when the site does not know it (any more)."""
    return bool(Machine.objects.filter(name=name).update(last_seen=Now()))
