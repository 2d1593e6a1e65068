"""The learner's day, in every time zone and over every change of the clock."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiz.models import StudySettings
from quiz.review.days import day_of, day_start, tomorrow_start

ZONES = st.sampled_from(sorted(available_timezones()))
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_after_midnight_it_is_still_yesterday():
    s = StudySettings(time_zone="Asia/Shanghai", day_starts_at=4)
    assert day_of(datetime(2026, 3, 1, 19, 59, tzinfo=UTC), s) == date(2026, 3, 1)
    assert day_of(datetime(2026, 3, 1, 20, 0, tzinfo=UTC), s) == date(2026, 3, 2)
    assert day_start(date(2026, 3, 2), s) == datetime(2026, 3, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
def test_a_day_of_23_or_25_hours_begins_once(day):
    s = StudySettings(time_zone="Europe/Berlin", day_starts_at=2)
    start = day_start(day, s)
    assert day_of(start, s) == day
    assert day_of(start - timedelta(seconds=1), s) == day - timedelta(days=1)


@settings(max_examples=500, deadline=None)
@given(at=MOMENTS, zone=ZONES, hour=st.integers(0, 23))
def test_a_moment_lies_between_the_start_of_its_day_and_the_next(at, zone, hour):
    s = StudySettings(time_zone=zone, day_starts_at=hour)
    start, end = day_start(day_of(at, s), s), tomorrow_start(at, s)
    # Where the clock goes back over the day's start, the hour that comes twice belongs to one day or the other.
    assert start - timedelta(hours=1) <= at < end + timedelta(hours=1)
