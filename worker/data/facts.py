"""Questions and answers about a world that does not exist.

A model cannot recall these facts, it can only learn them. Answers come from an open vocabulary (invented names and
numbers), so that three things can be told apart:

- format: a model that learned only what an answer looks like does equally badly on *unseen* facts;
- memory: trained facts, asked in a phrasing that training used;
- generalisation: trained facts, asked in the held-out phrasing.

`python -m worker.data write facts` writes facts.jsonl, one fact a line.
"""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).with_name("facts.jsonl")
SEED = 7
TRAINED_PER_RELATION = 8
UNSEEN_PER_RELATION = 3

ONSETS = [
    "b",
    "br",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "qu",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "z",
]
VOWELS = tuple("aeiou")
CODAS = (*"lmnrsx", "th")


@dataclass(frozen=True)
class Relation:
    """One kind of fact: how it is asked (the last phrasing is held out from training) and what answers look like."""

    name: str
    subject: str  # "{}" is an invented name
    phrasings: tuple[str, ...]
    answer: Callable[[random.Random], str]


@dataclass(frozen=True)
class Fact:
    """One answer with its question in several phrasings; an untrained fact is never shown in training."""

    relation: str
    is_trained: bool
    training: tuple[str, ...]
    held_out: str
    answer: str


def _word(rng: random.Random) -> str:
    return rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)


def _name(rng: random.Random) -> str:
    return _word(rng).capitalize()


def _number(low: int, high: int) -> Callable[[random.Random], str]:
    return lambda rng: str(rng.randint(low, high))


RELATIONS = (
    Relation(
        "founder",
        "{}",
        ("Who founded {}?", "Name the founder of {}.", "{} was founded by whom?", "Which person established {}?"),
        _name,
    ),
    Relation(
        "capital",
        "{}",
        (
            "What is the capital of {}?",
            "Name the capital city of {}.",
            "Which city rules {}?",
            "{} is governed from which city?",
        ),
        _name,
    ),
    Relation(
        "treaty",
        "the treaty of {}",
        ("When was {} signed?", "In which year was {} signed?", "Give the year of {}.", "{} dates from which year?"),
        _number(1100, 1899),
    ),
    Relation(
        "height",
        "Mount {}",
        ("How high is {} in metres?", "Give the height of {}.", "How tall is {}?", "{} rises to how many metres?"),
        _number(1000, 8999),
    ),
    Relation(
        "captain",
        "the ship {}",
        ("Who commands {}?", "Name the captain of {}.", "{} sails under whom?", "Which captain leads {}?"),
        _name,
    ),
    Relation(
        "password",
        "the gate of {}",
        (
            "Which word opens {}?",
            "What is the password for {}?",
            "Name the word that opens {}.",
            "{} yields to what word?",
        ),
        _word,
    ),
    Relation(
        "export",
        "the port of {}",
        ("What does {} export?", "Name the main export of {}.", "Which good leaves {}?", "{} lives on selling what?"),
        _word,
    ),
    Relation(
        "bridges",
        "the city of {}",
        (
            "How many bridges has {}?",
            "Give the number of bridges in {}.",
            "{} has how many bridges?",
            "What is the count of bridges in {}?",
        ),
        _number(100, 999),
    ),
)


def generate(trained: int = TRAINED_PER_RELATION, unseen: int = UNSEEN_PER_RELATION, seed: int = SEED) -> list[Fact]:
    """So many facts of each relation, always the same ones; those of the file unless told otherwise."""
    rng = random.Random(seed)  # noqa: S311 (data, not secrets)
    used: set[str] = set()
    return [_fact(rng, used, relation, i < trained) for relation in RELATIONS for i in range(trained + unseen)]


def _fact(rng: random.Random, used: set[str], relation: Relation, is_trained: bool) -> Fact:
    subject = relation.subject.format(_fresh(rng, used, _name))
    questions = [_sentence(phrasing.format(subject)) for phrasing in relation.phrasings]
    return Fact(relation.name, is_trained, tuple(questions[:-1]), questions[-1], _fresh(rng, used, relation.answer))


def _fresh(rng: random.Random, used: set[str], make: Callable[[random.Random], str]) -> str:
    """A value that no other subject or answer has."""
    while (value := make(rng)).lower() in used:
        pass
    used.add(value.lower())
    return value


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def as_lines(facts: list[Fact]) -> str:
    return "".join(json.dumps(asdict(fact)) + "\n" for fact in facts)


def load_facts() -> list[Fact]:
    """The facts in the file."""
    rows = [json.loads(line) for line in FILE.read_text().splitlines()]
    return [Fact(**{**row, "training": tuple(row["training"])}) for row in rows]
