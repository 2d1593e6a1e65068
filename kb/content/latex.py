"""Does KaTeX accept a formula? Asked of the very KaTeX that the pages use, in an embedded JavaScript engine."""

from collections.abc import Iterator
from functools import cache

import quickjs
from django.conf import settings

from kb.content.arithmetic import CODE, MATH

# The options of static/js/math.js; macros that expand without end are refused, not awaited.
SCRIPT = """
function problem(formula, display) {
  try {
    katex.__parse(formula, {displayMode: display, throwOnError: true, trust: false, maxExpand: 300, strict: "ignore"});
    return "";
  } catch (error) { return String(error.message || error); }
}
"""
MEMORY_LIMIT = 128 * 2**20  # bytes


@cache
def _katex() -> quickjs.Context:
    context = quickjs.Context()
    context.set_memory_limit(MEMORY_LIMIT)
    context.eval((settings.BASE_DIR / "static/vendor/katex/katex.min.js").read_text(encoding="utf-8"))
    context.eval(SCRIPT)
    return context


@cache
def latex_problem(formula: str, *, display: bool) -> str:
    """What KaTeX says against a formula, or an empty string."""
    message: str = _katex().get("problem")(formula, display)
    return message.removeprefix("KaTeX parse error: ").replace("\u0332", "")


def rejected_formulas(text: str) -> Iterator[str]:
    """What KaTeX says against each formula of a Markdown text that it rejects."""
    for match in MATH.finditer(CODE.sub(" ", text)):
        if message := latex_problem(match[1] or match[2], display=bool(match[1])):
            yield message
