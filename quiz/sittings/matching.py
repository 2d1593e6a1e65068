"""Which rubric points a typed answer seems to make: a proposal, which the learner confirms or corrects.

A term counts as said when it stands in the text as a stem (`decompos` in "decomposition"), with a typing error, in the
other language, or as it is spoken ("alpha over r" for α/r). A Chinese term may have words in between (冻结权重 in
冻结了原始的权重). A term right after a negation does not count, unless it is negated itself; what is taken back later
("freezing is wrong here") is not noticed, nor is a double negation. That is why the learner has the last word.
"""

import math
import re
import unicodedata
from functools import lru_cache
from itertools import zip_longest

import jieba  # type: ignore[import-untyped]
from django.conf import settings
from rapidfuzz import fuzz, process

from quiz.models import Question, RubricPoint

# Shares of equal letters from which a word counts as a typing error of a term, for words of FUZZY_LETTERS and more.
FUZZY_RATIO = 88
FUZZY_LETTERS = 6
# Between the words of a Chinese term may stand so many characters.
CHINESE_GAP = 6
# A negation counts for what follows within so many words (English) or characters (Chinese).
NEGATED_WORDS = 2
NEGATED_CHARACTERS = 2

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_CLAUSE = re.compile(r"[.!?;,:，。！？；：、\n]+(?=\s|$|[\u3400-\u9fff])|[，。！？；：、\n]+")
_GREEK_NAMES = "alpha beta gamma delta epsilon eta theta lambda mu pi rho sigma tau phi psi omega"
_GREEK = dict(zip("αβγδεηθλμπρστφψω", _GREEK_NAMES.split(), strict=True))
# How formulas are spoken, in the form that both the text and the terms are brought to.
_SPOKEN: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\bdivided by\b|\bover\b|÷|除以", " / "),
        (r"\bmultiplied by\b|\btimes\b|×|·|乘以", " * "),
        (r"\bsquared\b|的?平方", " ^2 "),
        (r"\bsquare root(?: of)?\b|√|根号|的?平方根", " sqrt "),
        (r"\bper ?cent\b|百分之", " % "),
        (r"\bplus\b", " + "),
        (r"\bequals\b|等于", " = "),
        (r"\btransposed?\b|转置", " transpose "),
        (r"\bzero\b|零", " 0 "),
        (r"\bone\b", " 1 "),
        (r"\btwo\b", " 2 "),
    ]
]
_WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?|[\u3400-\u4dbf\u4e00-\u9fff]|[/*^%+=<>]")
_NEGATION = {"not", "no", "never", "without", "neither", "nor", "cannot", "isn", "doesn", "don", "won", "aren"}
_ONLY = {"only", "just", "merely"}
_NEGATION_ZH = re.compile(r"(?:不是|没有|并非|并不|无需|不用|不会|不能|不要|不|没|未|无|非)")
_ONLY_ZH = re.compile(r"不(?:仅|只|但|光|单)|不得不|无论|不同|不断|非常")


def proposed_points(question: Question, typed: str) -> list[int]:
    """Positions of the rubric points that the text seems to make."""
    if not typed.strip():
        return []
    clauses = [_Clause(part) for part in _CLAUSE.split(_plain(typed)) if part and part.strip()]
    return [point.position for point in question.rubric.all() if _is_made(point, clauses)]


def needed(terms: int) -> int:
    """How many of a point's terms have to be said: half of them."""
    return math.ceil(terms / 2)


def _is_made(point: RubricPoint, clauses: list["_Clause"]) -> bool:
    # The n-th terms of the two languages mean the same, so either of them counts.
    pairs = [[term for term in pair if term] for pair in zip_longest(point.terms_en, point.terms_zh)]
    said = sum(any(clause.says(term) for clause in clauses for term in pair) for pair in pairs)
    return bool(pairs) and said >= needed(min(len(point.terms_en), len(point.terms_zh)) or len(pairs))


class _Clause:
    """A piece of the text between punctuation marks; a negation reaches no further."""

    def __init__(self, text: str) -> None:
        self.words = _WORD.findall(text)
        self.chinese = "".join(self.words)
        self.long_words = [word for word in set(self.words) if len(word) >= FUZZY_LETTERS]

    def says(self, term: str) -> bool:
        plain = _plain(term)
        return self._says_chinese(plain) if _HAN.search(plain) else self._says_latin(_WORD.findall(plain))

    def _says_latin(self, stems: list[str]) -> bool:
        """The words one after the other, each beginning with its stem; short ones have to be whole."""
        if not stems:
            return False
        for start in range(len(self.words) - len(stems) + 1):
            found = self.words[start : start + len(stems)]
            if all(map(_begins, found, stems)) and not self._is_negated(start, stems):
                return True
        return len(stems) == 1 and self._says_misspelt(stems[0])

    def _says_misspelt(self, stem: str) -> bool:
        if len(stem) < FUZZY_LETTERS or not self.long_words:
            return False
        cut = [word[: len(stem) + 1] for word in self.long_words]
        found = process.extractOne(stem, cut, scorer=fuzz.ratio, score_cutoff=FUZZY_RATIO)
        return found is not None and not self._is_negated(self.words.index(self.long_words[found[2]]), [stem])

    def _is_negated(self, start: int, stems: list[str]) -> bool:
        if _NEGATION & set(stems):
            return False
        before = self.words[max(0, start - NEGATED_WORDS - 1) : start]
        near = before[-NEGATED_WORDS:]
        chinese = "".join(before)[-NEGATED_CHARACTERS:]
        return bool(_NEGATION & set(near) and not _ONLY & set(before)) or _is_negated_zh("".join(before), chinese)

    def _says_chinese(self, term: str) -> bool:
        pattern = _spread("".join(_WORD.findall(term)))
        has_negation = _NEGATION_ZH.search(term) is not None
        return any(has_negation or not self._is_negated_at(m.start()) for m in pattern.finditer(self.chinese))

    def _is_negated_at(self, start: int) -> bool:
        return _is_negated_zh(self.chinese[:start], self.chinese[max(0, start - NEGATED_CHARACTERS) : start])


def _is_negated_zh(before: str, near: str) -> bool:
    return bool(_NEGATION_ZH.search(near)) and not _ONLY_ZH.search(before[-NEGATED_CHARACTERS - 1 :])


def _begins(word: str, stem: str) -> bool:
    return word.startswith(stem) if len(stem) > 2 and not stem.isdigit() else word in (stem, stem + "s")


def _plain(text: str) -> str:
    """Lower case, half-width, Greek letters by name, formulas as they are spoken; the terms go the same way."""
    text = unicodedata.normalize("NFKC", text.replace("²", " ^2 ")).lower()
    text = re.sub(r"\\([a-z]+)", r" \1 ", text)
    text = "".join(f" {_GREEK[c]} " if c in _GREEK else c for c in text)
    for pattern, replacement in _SPOKEN:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=4096)
def _spread(term: str) -> re.Pattern[str]:
    """The words of a Chinese term in their order, with a few characters between them allowed."""
    words = [re.escape(word) for word in _tokenizer().cut(term)]
    return re.compile(rf".{{0,{CHINESE_GAP}}}?".join(words))


@lru_cache(maxsize=1)
def _tokenizer() -> "jieba.Tokenizer":
    """Its dictionary takes half a second to load, so only where Chinese is compared; the cache lies with our data."""
    jieba.setLogLevel("WARNING")
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(settings.DATA_DIR)
    return tokenizer
