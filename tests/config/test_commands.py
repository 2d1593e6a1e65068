"""prepare and setup_demo: what is there already is left alone."""

import io

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from config import accounts
from config.management.commands import prepare
from config.management.commands.prepare import static_digest
from kb.models import Point


def said(command: str) -> str:
    output = io.StringIO()
    call_command(command, stdout=output)
    return output.getvalue()


@pytest.fixture
def _quick_steps(tmp_path, settings, monkeypatch):
    """A data folder of its own; models are another process's work and are tested with it."""
    settings.DATA_DIR, settings.STATIC_ROOT = tmp_path, tmp_path / "static"
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": settings.MANIFEST_STORAGE}}
    monkeypatch.setattr(prepare, "is_prepared", lambda *_: True)


@pytest.mark.usefixtures("_quick_steps")
@pytest.mark.slow
def test_prepare_does_everything_once(db, settings, tree):
    settings.CONTENT_DIR = tree
    first = said("prepare")
    assert "static files: collected and compressed" in first
    assert "logins: created demo, admin" in first
    assert Point.objects.exists()
    second = said("prepare")
    assert [line.split("|")[1].strip() for line in second.splitlines()] == [
        "database: up to date",
        "translations: up to date",
        "static files: up to date",
        "models: ready",
        "content: Content is unchanged since the last import.",
        "logins: up to date",
    ]


@pytest.mark.usefixtures("_quick_steps")
def test_prepare_stops_where_a_model_cannot_be_converted(db, settings, monkeypatch):
    monkeypatch.setattr(prepare, "is_prepared", lambda *_: False)
    settings.LAB_MODELS = ["no-such-model"]
    with pytest.raises(CommandError, match=r"^models: the conversion failed"):
        prepare.Command(stdout=io.StringIO()).convert_models()


def test_an_unknown_model_is_named_with_its_variable(settings):
    settings.LAB_MODELS = ["no-such-model"]
    with pytest.raises(CommandError, match="LAB_MODELS: Unknown model 'no-such-model'; allowed: smollm2-135m"):
        prepare.Command(stdout=io.StringIO()).convert_models()


def test_a_changed_static_file_changes_the_digest(settings, tmp_path):
    settings.STATICFILES_DIRS = [tmp_path]
    before = static_digest()
    (tmp_path / "new.css").write_text("a {}")
    assert static_digest() != before


def test_the_demo_learner_has_no_rights_and_the_administrator_has(db, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    assert said("setup_demo") == "logins: created demo, admin\n"
    demo, admin = User.objects.get(username="demo"), User.objects.get(username="admin")
    assert demo.check_password(accounts.DEMO_PASSWORD)
    assert (demo.is_staff, demo.is_superuser, demo.has_usable_password()) == (False, False, True)
    assert admin.is_superuser
    assert admin.check_password((tmp_path / "admin_password").read_text())


def test_a_changed_password_stays_changed(db, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    said("setup_demo")
    demo = User.objects.get(username="demo")
    demo.set_password("my own words")
    demo.save()
    assert said("setup_demo") == "logins: nothing to do\n"
    demo.refresh_from_db()
    assert demo.check_password("my own words")


def test_known_logins_are_not_made_on_a_database_server(db, settings):
    settings.DATABASE_URL = "postgres://host/name"
    with pytest.raises(CommandError, match="createsuperuser"):
        call_command("setup_demo")
    assert not User.objects.exists()
