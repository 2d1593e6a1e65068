"""What one user, and all together, may ask for. Each refusal says which limit it was, its value, and when it frees."""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from labs.declaration import Lab, Parameters
from labs.models import Run
from labs.numbers import format_number


class LimitReached(RuntimeError):
    """A run was refused by the limit `name`, of which `allowed` is the value.

    `frees_at` is when to ask again, where that is known; a limit that is not `temporary` never frees.
    """

    def __init__(
        self, text: str, *, name: str, allowed: int, frees_at: datetime | None = None, temporary: bool = True
    ) -> None:
        super().__init__(text)
        self.name, self.allowed, self.frees_at, self.temporary = name, allowed, frees_at, temporary


def check_limits(*, user: User, lab: Lab, params: Parameters, seeds: list[int], queue: str) -> None:
    """Raise LimitReached for the first limit that a new run would pass. Staff only stand in line like everybody."""
    if not user.is_staff:
        _check_work(lab, params, seeds, queue)
        _check_waiting(user)
        _check_minutes(user)
    _check_queue()


def work(lab: Lab, params: Parameters, seeds: int) -> float:
    """How much a run has to compute, in the lab's own unit."""
    return lab.work(params) * seeds


def _check_work(lab: Lab, params: Parameters, seeds: list[int], queue: str) -> None:
    """The measure is the largest preset that the same device is meant for."""
    name = "gpu" if queue == Run.GPU and "gpu" in lab.presets else "standard"
    measure = lab.presets[name]  # type: ignore[index]
    most = work(lab, lab.parameters(**measure.params), len(measure.seeds))
    share = work(lab, params, len(seeds)) / most
    allowed = settings.LEARNER_WORK_PERCENT
    if share > allowed / 100:
        figures = {"share": format_number(share), "preset": name, "limit": format_number(allowed / 100)}
        text = _(
            "This asks for %(share)s times the work of the preset “%(preset)s”; the limit for one run is %(limit)s "
            "times. Choose fewer or smaller values, or fewer seeds."
        )
        raise LimitReached(text % figures, name="work", allowed=allowed, temporary=False)


def _check_waiting(user: User) -> None:
    waiting, allowed = Run.objects.filter(owner=user, status=Run.QUEUED).count(), settings.USER_MAX_WAITING
    if waiting >= allowed:
        text = _(
            "Your waiting runs: %(count)s, the limit: %(limit)s. There is room again as soon as one of them starts or "
            "is cancelled."
        )
        raise LimitReached(text % {"count": waiting, "limit": allowed}, name="waiting", allowed=allowed)


def _check_minutes(user: User) -> None:
    used, allowed, frees_at = minutes_today(user), settings.USER_MINUTES_PER_DAY, midnight() + timedelta(days=1)
    if used >= allowed:
        at = f"{frees_at:%Y-%m-%d %H:%M %Z}"
        text = _(
            "Your runs have used %(used)s minutes of device time today, the limit: %(limit)s. You can start the next "
            "one from %(at)s on."
        )
        figures = {"used": int(used), "limit": allowed, "at": at}
        raise LimitReached(text % figures, name="minutes", allowed=allowed, frees_at=frees_at)


def _check_queue() -> None:
    waiting, allowed = Run.objects.filter(status=Run.QUEUED).count(), settings.QUEUE_LENGTH
    if waiting >= allowed:
        text = _(
            "The queue is full: %(count)s runs of all users are waiting, the limit: %(limit)s. There is room again as "
            "soon as one of them starts: try again in some minutes."
        )
        raise LimitReached(text % {"count": waiting, "limit": allowed}, name="queue", allowed=allowed)


def midnight() -> datetime:
    """When today began, in the site's time zone."""
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


def minutes_today(user: User) -> float:
    """Device time of the user's runs since midnight, of those under way until now."""
    start, now = midnight(), timezone.now()
    runs = Run.objects.filter(Q(finished_at__gte=start) | Q(status=Run.RUNNING), owner=user)
    spans = runs.values_list("started_at", "finished_at")
    return sum(((end or now) - max(began, start)).total_seconds() for began, end in spans if began) / 60
