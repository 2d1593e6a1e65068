"""What every request passes."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _


class LimitForms:
    """Refuses large requests before anything reads them. Editors may send more in the admin, learners as a deck."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) > settings.FORM_LIMIT and not self._is_editor(request):
            most = settings.DECK_LIMIT if self._is_deck(request) else settings.FORM_LIMIT
            if int(length) > most:
                message = _("Too large: %(n)s bytes; allowed: %(most)s.") % {"n": length, "most": most}
                return HttpResponse(message, status=413, content_type="text/plain; charset=utf-8")
        return self.get_response(request)

    def _is_editor(self, request: HttpRequest) -> bool:
        return request.path.startswith("/admin/") and request.user.is_staff

    def _is_deck(self, request: HttpRequest) -> bool:
        return request.path == "/decks/import/" and request.user.is_authenticated
