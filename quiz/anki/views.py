from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import FileResponse, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from kb.http import SignedInRequest
from quiz.anki.exports import NothingChosen, NotMade, deck_file, file_name
from quiz.anki.forms import DeckNameForm, ExportForm, ImportForm, OwnCardForm
from quiz.anki.importing import import_confirm, import_discard, import_prepare, waiting_cards
from quiz.anki.limits import Refused
from quiz.anki.queries import cards_of_deck, deck_import_for_user, own_card_for_user, own_decks, review_count
from quiz.anki.services import card_change, cards_delete, deck_rename
from quiz.models import OwnCard

PAGE = 50
FIRST_CARDS = 10
# How soon a page that waits for a file asks again, in seconds.
WAIT = 2


def _decks_page(
    request: SignedInRequest,
    *,
    export_form: ExportForm | None = None,
    import_form: ImportForm | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "decks": own_decks(request.user),
        "export_form": export_form or ExportForm(),
        "import_form": import_form or ImportForm(),
    }
    return render(request, "anki/decks.html", context, status=status)


@require_safe
@login_required
def decks(request: SignedInRequest) -> HttpResponse:
    return _decks_page(request)


@require_safe
@login_required
def export(request: SignedInRequest) -> HttpResponseBase:
    """The file, or while it is being made a page that asks for it again."""
    form = ExportForm(request.GET)
    if not form.is_valid():
        return _decks_page(request, export_form=form, status=422)
    deck = form.deck_for(request.user, request.build_absolute_uri("/").rstrip("/"))
    try:
        path = deck_file(deck)
    except NothingChosen:
        form.add_error(None, _("No card fits. Choose more topics or kinds, or a wider range of difficulty."))
        return _decks_page(request, export_form=form, status=422)
    except NotMade:
        form.add_error(None, _("The deck could not be made; the server's log says why. Try again."))
        return _decks_page(request, export_form=form, status=500)
    if path is None:
        response = render(request, "anki/making.html", status=202)
        response["Refresh"] = str(WAIT)
        return response
    return FileResponse(path.open("rb"), as_attachment=True, filename=file_name(deck))


# Import ---------------------------------------------------------------------------------------------------------------


@require_POST
@login_required
def upload(request: SignedInRequest) -> HttpResponse:
    """Read a file; nothing is kept before the next page is confirmed."""
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _decks_page(request, import_form=form, status=422)
    file = form.cleaned_data["file"]
    try:
        made = import_prepare(user=request.user, file=file, name=file.name, token=form.cleaned_data["token"])
    except Refused as e:
        form.add_error("file", f"{file.name}: {e}")
        return _decks_page(request, import_form=form, status=422)
    return redirect("decks-preview", made.pk)


@require_safe
@login_required
def preview(request: SignedInRequest, import_id: int) -> HttpResponse:
    """What an import would do, with its first cards; after it was confirmed, what it did."""
    found = deck_import_for_user(request.user, import_id)
    context = {"import": found, "report": found.report, "cards": waiting_cards(found, FIRST_CARDS)}
    return render(request, "anki/import.html", context)


@require_POST
@login_required
def confirm(request: SignedInRequest, import_id: int) -> HttpResponse:
    found = deck_import_for_user(request.user, import_id)
    try:
        import_confirm(found)
    except Refused as e:
        messages.error(request, str(e))
    return redirect("decks-preview", found.pk)


@require_POST
@login_required
def discard(request: SignedInRequest, import_id: int) -> HttpResponse:
    import_discard(deck_import_for_user(request.user, import_id))
    return redirect("decks")


# Own cards ------------------------------------------------------------------------------------------------------------


def deck_url(name: str) -> str:
    return f"{reverse('decks-own')}?{urlencode({'deck': name})}"


def _deck_page(request: SignedInRequest, name: str, form: DeckNameForm, status: int = 200) -> HttpResponse:
    page = Paginator(cards_of_deck(request.user, name), PAGE).get_page(request.GET.get("page"))
    return render(request, "anki/deck.html", {"deck": name, "page": page, "form": form}, status=status)


@require_safe
@login_required
def own_deck(request: SignedInRequest) -> HttpResponse:
    name = request.GET.get("deck", "")
    return _deck_page(request, name, DeckNameForm(initial={"name": name}))


@require_POST
@login_required
def rename(request: SignedInRequest) -> HttpResponse:
    name, form = request.POST.get("deck", ""), DeckNameForm(request.POST)
    if not form.is_valid():
        return _deck_page(request, name, form, status=422)
    deck_rename(request.user, name, form.cleaned_data["name"])
    return redirect(deck_url(form.cleaned_data["name"]))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def delete_deck(request: SignedInRequest) -> HttpResponse:
    """Asks first, and says what goes."""
    if request.method == "POST":
        name = request.POST.get("deck", "")
        return _deleted(request, cards_delete(request.user, OwnCard.objects.filter(deck=name)), reverse("decks"))
    name = request.GET.get("deck", "")
    cards = cards_of_deck(request.user, name)
    context = {"deck": name, "count": cards.count(), "reviews": review_count(request.user, cards)}
    return render(request, "anki/delete.html", context | {"back": deck_url(name)})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def card(request: SignedInRequest, card_id: int) -> HttpResponse:
    """One own card, to be read and changed."""
    found = own_card_for_user(request.user, card_id)
    form = OwnCardForm(found, request.POST if request.method == "POST" else None)
    if form.is_valid():
        card_change(found, **form.cleaned_data)
        messages.success(request, _("The card is changed."))
        return redirect("decks-card", found.pk)
    context: dict[str, Any] = {"card": found, "form": form}
    return render(request, "anki/card.html", context, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def delete_card(request: SignedInRequest, card_id: int) -> HttpResponse:
    found = own_card_for_user(request.user, card_id)
    cards = OwnCard.objects.filter(pk=found.pk)
    if request.method == "POST":
        return _deleted(request, cards_delete(request.user, cards), reverse("decks"))
    context = {"card": found, "deck": found.deck, "count": 1, "reviews": review_count(request.user, cards)}
    return render(request, "anki/delete.html", context | {"back": deck_url(found.deck)})


def _deleted(request: SignedInRequest, count: int, target: str) -> HttpResponse:
    messages.success(request, ngettext("%(n)s card is deleted.", "%(n)s cards are deleted.", count) % {"n": count})
    return redirect(target)
