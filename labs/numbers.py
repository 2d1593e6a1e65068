"""Every number that a reader sees is written here."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

# Units that are words and therefore differ between the languages; symbols (GB, ms, %) stay as they are.
WORD_UNITS = {
    "parameters": gettext_noop("parameters"),
    "nats": gettext_noop("nats"),
    "nats per token": gettext_noop("nats per token"),
    "nats per answer token": gettext_noop("nats per answer token"),
    "bits": gettext_noop("bits"),
    "bits per parameter": gettext_noop("bits per parameter"),
    "bytes": gettext_noop("bytes"),
    "ratio": gettext_noop("ratio"),
    "share": gettext_noop("share"),
    "seconds": gettext_noop("seconds"),
    "logit": gettext_noop("logit"),
    "logits": gettext_noop("logits"),
    "weight": gettext_noop("weight"),
    "FLOPs": gettext_noop("FLOPs"),
    "block maximum": gettext_noop("block maximum"),
    "triplets": gettext_noop("triplets"),
    "percentage points": gettext_noop("percentage points"),
    "nats per image": gettext_noop("nats per image"),
    "1 if so": gettext_noop("1 if so"),
    "tensors": gettext_noop("tensors"),
    "cosine": gettext_noop("cosine"),
    "tokens": gettext_noop("tokens"),
    "weights": gettext_noop("weights"),
    "dimensions": gettext_noop("dimensions"),
    "examples": gettext_noop("examples"),
    "steps": gettext_noop("steps"),
    "pairs": gettext_noop("pairs"),
    "standard errors": gettext_noop("standard errors"),
}

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_number(value: float) -> str:
    """Counts in full with separators, the rest to three significant digits: `4,718,592`, `0.697`, `1.50×10⁻⁴`."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def latex_number(shown: str) -> str:
    """A number from `format_number` for use in LaTeX: `4{,}718{,}592`, `1.50 \\times 10^{-4}`."""
    mantissa, times, exponent = shown.partition("×10")
    plain = exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return mantissa.replace(",", "{,}") + (rf" \times 10^{{{plain}}}" if times else "")


def format_unit(unit: str) -> str:
    return _(WORD_UNITS[unit]) if unit in WORD_UNITS else unit


def format_quantity(value: float, unit: str) -> str:
    """`0.697 nats`, `37,748,736 parameters`, `99 %`; a ratio's unit goes without saying, a factor's is ×.

    A factor with a power of ten has its × already: `6.99×10⁻⁸`.
    """
    shown = format_number(value)
    if unit in ("", "ratio", "share") or (unit == "×" and "×" in shown):
        return shown
    return f"{shown}{'' if unit == '×' else ' '}{format_unit(unit)}"
