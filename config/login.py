"""Signing in, with a limit on how often it may be tried."""

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.utils.translation import ngettext
from rest_framework.throttling import SimpleRateThrottle


class LoginThrottle(SimpleRateThrottle):
    """By address, also for those who are signed in: their account must not help to guess the others' passwords."""

    scope = "login"

    def get_cache_key(self, request: Any, view: Any) -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


class LoginForm(AuthenticationForm):
    """For the site's own login page and the admin's."""

    def clean(self) -> dict[str, Any]:
        throttle = LoginThrottle()
        if not throttle.allow_request(self.request, None):  # type: ignore[arg-type]
            seconds = round(throttle.wait() or 60)
            text = ngettext(
                "Too many tries from your address. Wait %(n)s second, then try again.",
                "Too many tries from your address. Wait %(n)s seconds, then try again.",
                seconds,
            )
            raise ValidationError(text % {"n": seconds}, code="throttled")
        return super().clean()


login = LoginView.as_view(authentication_form=LoginForm, redirect_authenticated_user=True)
