import pytest
from django.utils import timezone

from tests.plan.conftest import NOON


@pytest.fixture(autouse=True)
def _noon(monkeypatch):
    """The clock stands still."""
    monkeypatch.setattr(timezone, "now", lambda: NOON)
