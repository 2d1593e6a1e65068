"""Forms of items in the admin: checked like content files, and refused when somebody else was faster."""

from typing import Any

from django import forms
from django.db.models import Field, JSONField, TextField
from django.utils.translation import gettext as _

from kb.content.registry import type_of
from kb.content.writer import canonical
from kb.editing.checks import ItemRefused, checked_source, is_retired
from kb.editing.fields import MarkdownField, YamlField
from kb.editing.versions import FieldChange, changes_between, digest_of


def form_field(column: Field) -> forms.Field | None:
    """The form field of a text or a list; None for all other columns."""
    if isinstance(column, JSONField):
        return YamlField(kind=column.default, label=column.verbose_name.capitalize())
    if isinstance(column, TextField):
        label = column.verbose_name.capitalize()
        return MarkdownField(language=column.name[-2:], required=False, label=label)
    return None


class ItemForm(forms.ModelForm):
    """`version` is the digest of what the editor began with. `source` is the checked item after validation."""

    version = forms.CharField(required=False, widget=forms.HiddenInput)

    # Where a place in the source is edited under another name.
    PLACES: dict[str, str] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.edited_in = self
        self.formsets: dict[str, Any] = {}
        self.source: Any = None
        self.conflict: dict[str, list[FieldChange]] = {}
        self.before: dict[str, Any] | None = None
        if self.instance.pk and not is_retired(self.instance):
            source = type_of(self.instance).source_of(self.instance)
            self.before, self.digest = canonical(source), digest_of(source)
            self.initial["version"] = self.digest

    def make_source(self) -> Any:
        """The item as the form has it."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        """Checks the item as a whole, once all fields and the inlines are valid by themselves."""
        super()._post_clean()  # type: ignore[misc]
        is_complete = not self.errors and all(formset.is_valid() for formset in self.formsets.values())
        if is_complete:
            self._check()
        self._compare_versions(is_complete=is_complete)

    def _check(self) -> None:
        try:
            self.source = checked_source(type_of(self.instance), self.make_source)
        except ItemRefused as e:
            for finding in e.findings:
                self._show(finding.place, finding.language, str(finding))

    def _compare_versions(self, *, is_complete: bool) -> None:
        """Refuse to save over a version that the editor has not seen; the next try is made knowingly."""
        if self.before is None or self.data.get("version", "") == self.digest:
            return
        base = self._begun_with()
        if base is not None:
            self.conflict[_("What was changed meanwhile")] = changes_between(base, self.before)
        if is_complete and self.source:
            self.conflict[_("What saving your version would change now")] = changes_between(
                self.before, canonical(self.source)
            )
        seen = self.data.copy()  # type: ignore[attr-defined]
        seen["version"] = self.digest
        self.data = seen
        message = _(
            "%(who)s saved this item after you opened it. Nothing was saved now, and all that you typed is still here: "
            "compare the versions, take over what is missing, and save again."
        )
        self.add_error(None, message % {"who": self._last_editor()})

    def _last_editor(self) -> str:
        last = self.instance.history.select_related("history_user").first()
        return str(last.history_user) if last and last.history_user else _("Somebody")

    def _begun_with(self) -> dict[str, Any] | None:
        """The version that the editor began with, if it is among the newest."""
        content_type = type_of(self.instance)
        for version in self.instance.history.exclude(history_type="-")[:50]:
            source = content_type.parse(self.instance, version.document)
            if digest_of(source) == self.data.get("version"):
                return dict(version.document)
        return None

    def _show(self, place: str, language: str, message: str) -> None:
        """Add an error to the field, of this form or of an inline, in which the place is edited."""
        name, *rest = place.split(".")
        if name in self.formsets and rest and rest[0].isdigit():
            form = self.formsets[name].in_order()[int(rest[0])]
            form.add_error(_field_in(form, ".".join(rest[1:]) or "", language), message)
            self.add_error(None, message)
        else:
            self.add_error(_field_in(self, self.PLACES.get(name, name), language), message)


def _field_in(form: forms.BaseForm, name: str, language: str) -> str | None:
    return next((field for field in (f"{name}_{language}", f"{name}_en", name) if field in form.fields), None)


class InlineForm(forms.ModelForm):
    """A part of an item that has a place of its own; parts are renumbered when the item is saved."""

    order = forms.IntegerField(required=False, min_value=0, widget=forms.NumberInput({"class": "order"}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["order"] = self.instance.position + 1


class InlineFormSet(forms.BaseInlineFormSet):
    def in_order(self) -> list[Any]:
        """The forms that stay, in the order that the editor gave them; those without a number come last."""
        kept = [
            form for form in self.forms if form not in self.deleted_forms and (form.instance.pk or form.has_changed())
        ]
        places = {id(form): place for place, form in enumerate(kept)}

        def place(form: Any) -> tuple[float, int]:
            order = form.cleaned_data.get("order")
            return (float("inf") if order is None else order, places[id(form)])

        return sorted(kept, key=place)

    def rows(self) -> list[Any]:
        return [form.instance for form in self.in_order()]
