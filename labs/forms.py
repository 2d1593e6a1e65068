"""The form of a lab, derived from its declaration."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from kb.text import active_language
from labs.declaration import Lab
from labs.parameters import ParameterErrors, parameter_schema
from labs.services import Request, run_request

SHORT = 500  # characters of a field of one line


class LabForm(forms.Form):
    """One field a parameter, and the seeds. Bounds are checked where the API's are: in labs.parameters."""

    def __init__(self, lab: Lab, preset: str, data: Any = None) -> None:
        chosen = lab.presets[preset]  # type: ignore[index]
        params = lab.parameters(**chosen.params).model_dump(mode="json")
        shown = {name: ", ".join(map(str, v)) if isinstance(v, list) else v for name, v in params.items()}
        super().__init__(data, initial=shown | {"seeds": ", ".join(map(str, chosen.seeds))})
        self.lab = lab
        # What the reader started from: the run needs the machine that this preset needs.
        self.based_on = preset if data is None else data.get("based_on", "")
        self.request: Request | None = None
        self.schema = parameter_schema(lab)["properties"]
        for name, field in self.schema.items():
            self.fields[name] = _field(field)
            if isinstance(self.fields[name], forms.MultipleChoiceField):
                self.initial[name] = params[name]
        self.fields["seeds"] = forms.CharField(
            max_length=500,
            label=_("Seeds"),
            help_text=_("Whole numbers, separated by commas; three or more give an interval."),
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        raw = {name: _raw(field, cleaned[name]) for name, field in self.schema.items()}
        try:
            seeds = [int(part) if part.isdecimal() else part for part in _parts(cleaned["seeds"])]
            based_on = self.based_on if self.based_on in self.lab.presets else ""
            self.request = run_request(lab_slug=self.lab.slug, preset=based_on, params=raw, seeds=seeds)  # type: ignore[arg-type]
        except ParameterErrors as e:
            for name, messages in e.by_field().items():
                field = name.split(".")[0]
                for message in messages:
                    self.add_error(field if field in self.fields else None, message)
        return cleaned


def _field(schema: dict[str, Any]) -> forms.Field:
    """The form field that fits one property of the parameters' JSON Schema."""
    zh = active_language() == "zh"
    common: dict[str, Any] = {
        "label": schema["title_zh"] if zh else schema["title"],
        "help_text": schema["description_zh"] if zh else schema["description"],
    }
    items = schema.get("items", {})
    if "enum" in items:
        choices = [(value, value) for value in items["enum"]]
        return forms.MultipleChoiceField(choices=choices, widget=forms.CheckboxSelectMultiple, required=False, **common)
    if "enum" in schema:
        return forms.ChoiceField(choices=[(value, value) for value in schema["enum"]], **common)
    if schema.get("type") == "boolean":
        return forms.BooleanField(required=False, **common)
    is_long = schema.get("maxLength", 0) > SHORT
    return forms.CharField(
        max_length=schema["maxLength"] if is_long else SHORT,
        required=schema.get("default") != "",
        widget=forms.Textarea(attrs={"rows": 3}) if is_long else None,
        **common,
    )


def _raw(schema: dict[str, Any], value: Any) -> Any:
    """What the API would have been sent: list parameters are typed as `1, 8, 64`."""
    return _parts(value) if schema.get("type") == "array" and isinstance(value, str) else value


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.replace("，", ",").split(",") if part.strip()]
