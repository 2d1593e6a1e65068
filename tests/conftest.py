"""Settings for tests, and the people: alice (owner), bob (another learner), charlie (not signed in), staff."""

from pathlib import Path

import hypothesis
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import translation

from kb.catalogues import compile_catalogues
from tests.content_tree import write_tree

# The same examples every time, however busy the machine is.
hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")


def pytest_configure() -> None:
    compile_catalogues()  # a fresh clone has none, and gettext remembers that
    settings.STORAGES["staticfiles"]["BACKEND"] = settings.PLAIN_STORAGE  # the manifest needs collectstatic
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        # A file, because threads of one test cannot wait for each other on a database in memory.
        database.setdefault("TEST", {})["NAME"] = str(settings.DATA_DIR / "test.sqlite3")


@pytest.fixture(autouse=True)
def _empty_cache():
    cache.clear()


@pytest.fixture(autouse=True)
def _default_language():
    """A request leaves its language behind."""
    translation.deactivate()


@pytest.fixture
def alice(db) -> User:
    return User.objects.create_user("alice", password="alice-password")


@pytest.fixture
def bob(db) -> User:
    return User.objects.create_user("bob", password="bob-password")


@pytest.fixture
def staff(db) -> User:
    return User.objects.create_superuser("staff", password="staff-password")


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def as_alice(alice) -> Client:
    return client_of(alice)


@pytest.fixture
def as_bob(bob) -> Client:
    return client_of(bob)


@pytest.fixture
def as_charlie(db) -> Client:
    return Client()


@pytest.fixture
def as_staff(staff) -> Client:
    return client_of(staff)


@pytest.fixture
def tree(tmp_path) -> Path:
    """A small content folder without errors."""
    return write_tree(tmp_path / "content")
