"""Texts that exist in both languages."""

from typing import Any, Literal

from django.utils.translation import get_language
from pydantic import BaseModel, ConfigDict

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Text(BaseModel):
    """One text in English and 简体中文; an empty string stands for a missing translation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: str = ""
    zh: str = ""

    def in_language(self, language: Language) -> str:
        """The text in `language`, or in the other one where it is missing."""
        return getattr(self, language) or self.en or self.zh

    def __str__(self) -> str:
        return self.in_language(active_language())


def active_language() -> Language:
    """The content language that goes with Django's active translation."""
    return "zh" if (get_language() or "en").startswith("zh") else "en"


def pick(obj: Any, field: str, language: Language | None = None) -> str:
    """The text of `field` of a model with `<field>_en` and `<field>_zh` columns."""
    text: str = getattr(obj, f"{field}_{language or active_language()}")
    return text or getattr(obj, f"{field}_en") or getattr(obj, f"{field}_zh")


def is_missing(obj: Any, field: str, language: Language | None = None) -> bool:
    """Whether `pick` has to fall back to the other language."""
    return not getattr(obj, f"{field}_{language or active_language()}")
