"""The learner's day: it begins at an hour of their choice, in their time zone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone

from quiz.models import StudySettings


def day_of(at: datetime, s: StudySettings) -> date:
    """The learner's day that the moment belongs to: at 2 in the night it is still yesterday."""
    return (at.astimezone(ZoneInfo(s.time_zone)) - timedelta(hours=s.day_starts_at)).date()


def day_start(day: date, s: StudySettings) -> datetime:
    """When the day begins, in UTC."""
    return datetime.combine(day, time(s.day_starts_at), ZoneInfo(s.time_zone)).astimezone(UTC)


def today(s: StudySettings) -> date:
    return day_of(timezone.now(), s)


def tomorrow_start(at: datetime, s: StudySettings) -> datetime:
    """When the day after the moment's day begins: what is due before that is due on the moment's day."""
    return day_start(day_of(at, s) + timedelta(days=1), s)
