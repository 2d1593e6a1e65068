from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from kb.models import Topic
from kb.text import active_language, pick
from quiz.anki.exports import Deck
from quiz.anki.fields import from_anki, source_of
from quiz.anki.limits import MAX_DECK_NAME, MAX_FIELD, MAX_TAG, MAX_TAGS
from quiz.anki.selection import BANK, MISTAKES, OWN, STUDIED, Selection
from quiz.forms import fresh_token
from quiz.models import OwnCard
from quiz.search_source import KIND_TITLES

SCOPES = [
    (BANK, _("all questions")),
    (STUDIED, _("questions that I have reviewed")),
    (MISTAKES, _("my mistakes")),
    (OWN, _("cards of my own")),
]
FORMATS = [("apkg", _("Anki package (.apkg)")), ("csv", _("Table (.csv)"))]
LEVELS = [(n, str(n)) for n in range(1, 6)]


class ExportForm(forms.Form):
    scope = forms.ChoiceField(label=_("What"), choices=SCOPES, initial=BANK)
    format = forms.ChoiceField(label=_("As"), choices=FORMATS, initial="apkg")
    topics = forms.MultipleChoiceField(
        label=_("Topics"), required=False, widget=forms.CheckboxSelectMultiple, help_text=_("None ticked means all.")
    )
    kinds = forms.MultipleChoiceField(
        label=_("Kinds"), choices=list(KIND_TITLES.items()), required=False, widget=forms.CheckboxSelectMultiple
    )
    easiest = forms.TypedChoiceField(label=_("Difficulty from"), choices=LEVELS, coerce=int, initial=1)
    hardest = forms.TypedChoiceField(label=_("Difficulty to"), choices=LEVELS, coerce=int, initial=5)
    search = forms.CharField(label=_("Search"), max_length=200, required=False)
    follow_ups = forms.BooleanField(label=_("with follow-ups"), required=False, initial=True)
    scheduling = forms.BooleanField(label=_("with my schedule: due dates, intervals, FSRS memory"), required=False)
    bom = forms.BooleanField(label=_("table for Excel (UTF-8 with BOM)"), required=False, initial=True)
    deck = forms.CharField(widget=forms.HiddenInput, max_length=MAX_DECK_NAME, required=False)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        topics = [(topic.slug, pick(topic, "title")) for topic in Topic.objects.all()]
        self.fields["topics"].choices = topics  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        easiest, hardest = cleaned.get("easiest"), cleaned.get("hardest")
        if easiest and hardest and easiest > hardest:
            message = _("Difficulty from %(easiest)s to %(hardest)s holds nothing; the first must not be higher.")
            self.add_error("easiest", message % {"easiest": easiest, "hardest": hardest})
        return cleaned

    def deck_for(self, user: User, site: str) -> Deck:
        data = self.cleaned_data
        selection = Selection(
            scope=data["scope"],
            topics=tuple(sorted(data["topics"])),
            kinds=tuple(sorted(data["kinds"])),
            easiest=data["easiest"],
            hardest=data["hardest"],
            search=data["search"],
            with_follow_ups=data["follow_ups"],
            decks=(data["deck"],) if data["deck"] else (),
        )
        return Deck(
            selection,
            user,
            active_language(),
            format=data["format"],
            site=site,
            with_scheduling=data["scheduling"],
            with_bom=data["bom"],
        )


class ImportForm(forms.Form):
    token = forms.UUIDField(widget=forms.HiddenInput)
    file = forms.FileField(
        label=_("File"),
        help_text=_("An Anki package (.apkg, up to 64 MB) or a table (.csv, .tsv, .txt, up to 8 MB)."),
        widget=forms.FileInput(attrs={"accept": ".apkg,.colpkg,.csv,.tsv,.txt"}),
        max_length=200,
        error_messages={"required": _("Choose a file.")},
    )

    def __init__(self, data: Any = None, files: Any = None) -> None:
        super().__init__(data, files, initial={"token": fresh_token()})


class DeckNameForm(forms.Form):
    name = forms.CharField(label=_("Name of the deck"), max_length=MAX_DECK_NAME)


class OwnCardForm(forms.Form):
    """Front and back are HTML, with formulas as Anki writes them."""

    front = forms.CharField(
        label=pgettext_lazy("side of a card", "Front"),
        max_length=MAX_FIELD,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=_(r"HTML; formulas as \(…\) or, on a line of their own, \[…\]."),
    )
    back = forms.CharField(
        label=pgettext_lazy("side of a card", "Back"),
        max_length=MAX_FIELD,
        widget=forms.Textarea(attrs={"rows": 8}),
        required=False,
    )
    deck = forms.CharField(label=_("Deck"), max_length=MAX_DECK_NAME)
    tags = forms.CharField(
        label=_("Tags"), max_length=MAX_TAGS * (MAX_TAG + 1), required=False, help_text=_("Separated by blanks.")
    )

    def __init__(self, card: OwnCard, data: Any = None) -> None:
        shown = {"front": source_of(card.front), "back": source_of(card.back), "deck": card.deck}
        super().__init__(data, initial=shown | {"tags": " ".join(card.tags)})

    def clean_front(self) -> str:
        front: str = self.cleaned_data["front"]
        if not from_anki(front).html:
            raise forms.ValidationError(_("Nothing is left of the front without its scripts and pictures."))
        return front

    def clean_tags(self) -> list[str]:
        tags: list[str] = self.cleaned_data["tags"].split()
        longest = max(tags, key=len, default="")
        if len(tags) > MAX_TAGS or len(longest) > MAX_TAG:
            message = _("%(n)s tags, the longest of %(length)s characters; allowed: %(most)s tags of %(characters)s.")
            values = {"n": len(tags), "length": len(longest), "most": MAX_TAGS, "characters": MAX_TAG}
            raise forms.ValidationError(message % values)
        return tags
