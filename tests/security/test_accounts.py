"""Who is signed in, and until when."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone


def is_signed_in(client) -> bool:
    return client.get(reverse("review-home")).status_code == 200


def test_a_session_lasts_until_it_expires(as_alice):
    assert is_signed_in(as_alice)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not is_signed_in(as_alice)


def test_a_session_that_was_deleted_is_over(as_alice):
    Session.objects.all().delete()
    assert not is_signed_in(as_alice)


@pytest.mark.parametrize("key", ["", "short", "x" * 32, "' OR 1=1 --"])
def test_a_session_that_never_was(as_charlie, db, key):
    as_charlie.cookies[settings.SESSION_COOKIE_NAME] = key
    assert not is_signed_in(as_charlie)


def test_a_session_keeps_what_is_written_to_it(as_alice):
    session = as_alice.session
    session["colour"] = "green"
    session.save()
    assert is_signed_in(as_alice)
    assert as_alice.session["colour"] == "green"


def test_an_account_that_was_closed_is_signed_out(as_alice, alice):
    alice.is_active = False
    alice.save()
    assert not is_signed_in(as_alice)


def test_an_account_that_was_deleted_is_signed_out(as_alice, alice):
    alice.delete()
    assert not is_signed_in(as_alice)


def test_another_password_ends_the_sessions(as_alice, alice):
    alice.set_password("another-password")
    alice.save()
    assert not is_signed_in(as_alice)
