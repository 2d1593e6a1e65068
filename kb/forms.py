from django import forms
from django.utils.translation import gettext_lazy as _

from kb.models import Topic
from kb.search import MAX_QUERY, Hit, facets, search
from kb.text import Language, pick

KINDS = [
    ("", _("everything")),
    ("point", _("points")),
    ("question", _("questions")),
    ("claim", _("claims")),
    ("lab", _("labs")),
]


class SearchForm(forms.Form):
    q = forms.CharField(
        label=_("Search"),
        max_length=MAX_QUERY,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off"}),
    )
    kind = forms.ChoiceField(label=_("In"), choices=KINDS, required=False)
    topic = forms.ChoiceField(label=_("Topic"), required=False)
    difficulty = forms.TypedChoiceField(
        label=_("Difficulty"), choices=[("", _("any"))] + [(n, str(n)) for n in range(1, 6)], coerce=int, required=False
    )
    facet = forms.ChoiceField(label=_("Kind or verdict"), required=False)

    def __init__(self, data: object) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        topics = [(topic.slug, pick(topic, "title")) for topic in Topic.objects.all()]
        self.fields["topic"].choices = [("", _("all")), *topics]  # type: ignore[attr-defined]
        groups = [(heading, list(titles.items())) for heading, titles in facets]
        self.fields["facet"].choices = [("", _("any")), *groups]  # type: ignore[attr-defined]

    def hits(self, language: Language) -> list[Hit]:
        filters = {name: self.cleaned_data[name] for name in ("kind", "topic", "difficulty", "facet")}
        return search(self.cleaned_data["q"], language, **filters)
