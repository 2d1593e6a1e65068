from datetime import UTC, date, datetime, timedelta

import pytest
from django.utils import timezone

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = date(2026, 3, 2)


@pytest.fixture(autouse=True)
def _noon(monkeypatch):
    """The clock stands still."""
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def in_days(days: int) -> date:
    return TODAY + timedelta(days=days)
