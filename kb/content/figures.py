"""Finding bare numbers: figures that stand in a text without evidence.

A figure is a number that a reader could ask "how do you know?" about: one with decimals, one of 100 or more, or one
with a unit. Small whole numbers are settings and counts (rank 8, two matrices), and numbers inside names (GPT-3, 7B,
NF4, 4-bit) are names. A figure is backed when it stands in `[[claim:…]]`, in `[[plain:…|reason]]`, in mathematics
(checked by kb.content.arithmetic) or in code (which the tests run).
"""

import re

_BACKED = [
    re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE),
    re.compile(r"`[^`\n]*`"),
    re.compile(r"\$\$.*?\$\$", re.DOTALL),
    re.compile(r"(?<!\\)\$[^$\n]*?(?<!\\)\$"),
    re.compile(r"\[\[[^\]]*\]\]"),
    re.compile(r"\[@[^\]]*\]"),
    re.compile(r"\]\([^)]*\)"),
]

_UNIT = re.compile(
    r"\s?(?:%|％|×|倍|个百分点|百分点|万|亿|(?:[kKMGTP]i?B|bytes?|bits?|ms|s|seconds?|minutes?|hours?|days?|times|percent|points|"
    r"thousand|million|billion|trillion|tokens?|FLOPs?|parameters?)\b|字节|秒|分钟|小时|天|比特|个 ?token|个?参数)"
)
_NUMBER = re.compile(r"(?<![\w.\-–/^])\d[\d,]*(?:\.\d+)*")
_PLACE = re.compile(
    r"(?:Tables?|Sections?|Figures?|Equations?|Eq\.|Appendix|Chapter|Step|[Ll]ayers?|ranks?|steps?|seeds?|§|表|图|式|公式|"
    r"第|附录|节|步|层|秩)\s?(?:[\d.,]+\s?(?:and|to|or|、|和|到|至|–|-)\s?)*$"
)


def bare_figures(text: str) -> list[str]:
    """The figures of a Markdown text that nothing backs, in order."""
    for pattern in _BACKED:
        text = pattern.sub(lambda match: "\n" * match[0].count("\n") + " ¤ ", text)
    found = []
    for match in _NUMBER.finditer(text):
        number, rest = match[0].rstrip(","), text[match.end() :]
        if _PLACE.search(text[: match.start()]) or _is_name(rest):
            continue
        unit = _UNIT.match(rest)
        if unit or _is_figure(number):
            found.append(number + (unit[0] if unit else ""))
    return found


def _is_name(rest: str) -> bool:
    """Whether the number is the beginning of a name: 7B, 4-bit, 3-way."""
    return bool(re.match(r"-?[A-Za-z]", rest)) and not _UNIT.match(rest)


def _is_figure(number: str) -> bool:
    plain = number.replace(",", "")
    if plain.count(".") > 1:  # a version
        return False
    if "." in plain:
        return True
    value = int(plain)
    is_year = "," not in number and 1900 <= value <= 2100
    return value >= 100 and not is_year
