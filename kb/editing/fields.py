"""Form fields of the editors: Markdown with a preview, lists and structures as YAML, words one a line."""

from typing import Any

import yaml
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from kb.content.files import yaml_refusal
from kb.content.writer import dump
from kb.markup import MAX_SOURCE


class MarkdownWidget(forms.Textarea):
    """A textarea that static/js/preview.js gives a preview; without JavaScript it is a textarea."""

    def __init__(self, language: str = "en") -> None:
        tag = "zh-Hans" if language == "zh" else "en"
        super().__init__({"rows": 6, "class": "vLargeTextField", "data-preview": language, "lang": tag})


class PlainLines(forms.CharField):
    """Text with the line ends that files have: browsers send CRLF."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("\r\n", "\n").replace("\r", "\n") if value else value)


class MarkdownField(PlainLines):
    def __init__(self, *, language: str = "en", **kwargs: Any) -> None:
        super().__init__(widget=MarkdownWidget(language), max_length=MAX_SOURCE, **kwargs)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """Without maxlength: browsers would cut what is pasted without a word."""
        return {}


class WordsField(PlainLines):
    """A list of words, one a line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea({"rows": 3}), required=False, max_length=MAX_SOURCE, **kwargs)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {}

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in super().to_python(value).splitlines() if line.strip()]

    def validate(self, value: Any) -> None:
        pass

    def run_validators(self, value: Any) -> None:
        super().run_validators("\n".join(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), "\n".join(self.to_python(data)))


class YamlField(PlainLines):
    """A list or a mapping, written as in the content files."""

    def __init__(self, *, kind: type, **kwargs: Any) -> None:
        self.kind = kind
        attrs = {"rows": 6, "class": "vLargeTextField", "spellcheck": "false", "data-code": ""}
        super().__init__(widget=forms.Textarea(attrs), required=False, max_length=MAX_SOURCE, **kwargs)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {}

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        return dump(value) if value else ""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            refusal = yaml_refusal(text)
            found = None if refusal else yaml.safe_load(text)
        except yaml.YAMLError as e:
            mark = getattr(e, "problem_mark", None)
            refusal = (mark.line + 1 if mark else 1, str(getattr(e, "problem", "") or e))
        except ValueError as e:
            refusal = (1, str(e))
        if refusal:
            line, problem = refusal
            raise ValidationError(
                _("Line %(line)s is not valid YAML: %(problem)s") % {"line": line, "problem": problem}
            )
        if found is None:
            return self.kind()
        if not isinstance(found, self.kind):
            wanted = _("a list") if self.kind is list else _("a mapping")
            raise ValidationError(_("This has to be %(wanted)s.") % {"wanted": wanted})
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)
