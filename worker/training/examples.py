"""From texts to token tensors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from worker.data.facts import Fact
from worker.data.rows import Pair, Passage

IGNORED = -100  # a label that no loss is taken on, as in transformers


@dataclass(frozen=True)
class Example:
    """Tokens of one prompt with its answer; the loss is taken on the tokens from `answer_start` on."""

    tokens: tuple[int, ...]
    answer_start: int

    def __post_init__(self) -> None:
        if not 0 < self.answer_start < len(self.tokens):
            raise ValueError(f"Invalid answer_start: {self.answer_start} of {len(self.tokens)} tokens")


class Shape(NamedTuple):
    """How much a batch is."""

    rows: int
    length: int  # of a row, with padding
    tokens: int  # without padding
    labels: int


@dataclass(frozen=True)
class Batch:
    """Right-padded to its longest row. No attention mask: under causal attention no token sees the padding after it.

    Where rows hold several examples, `positions` starts again at 0 with each, and transformers derives from it that
    no example sees the one before.
    """

    tokens: Tensor  # (B, T)
    labels: Tensor  # (B, T), the token that each position should predict, or IGNORED
    shape: Shape
    positions: Tensor | None = None  # (B, T)


def encode(question: str, answer: str, tokenizer: PreTrainedTokenizerBase) -> Example:
    """The question on one line, the answer on the next; the end-of-text token belongs to the answer.

    A chat template would make every row three times as long without teaching anything else.
    """
    prompt = tokenizer.encode(f"{question}\n", add_special_tokens=False)
    completion = tokenizer.encode(answer, add_special_tokens=False)
    return Example((*prompt, *completion, tokenizer.eos_token_id), len(prompt))


@dataclass(frozen=True)
class FactExamples:
    """The facts data set, encoded: what can be told apart is said in worker.data.facts."""

    training: list[Example]
    validation: list[Example]  # trained facts in the phrasing held out
    unseen: list[Example]  # other facts in that phrasing


def encode_facts(facts: Sequence[Fact], tokenizer: PreTrainedTokenizerBase) -> FactExamples:
    trained = [fact for fact in facts if fact.is_trained]
    unseen = [fact for fact in facts if not fact.is_trained]
    return FactExamples(
        training=[encode(question, fact.answer, tokenizer) for fact in trained for question in fact.training],
        validation=[encode(fact.held_out, fact.answer, tokenizer) for fact in trained],
        unseen=[encode(fact.held_out, fact.answer, tokenizer) for fact in unseen],
    )


@dataclass(frozen=True)
class SplitExamples:
    """A data set of pairs or passages, encoded."""

    training: list[Example]
    validation: list[Example]


def encode_pairs(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase) -> SplitExamples:
    """Loss on the answer's tokens."""
    rows = [(pair.split, encode(pair.prompt, pair.answer, tokenizer)) for pair in pairs]
    return SplitExamples([e for s, e in rows if s == "training"], [e for s, e in rows if s == "validation"])


def encode_passages(passages: Sequence[Passage], tokenizer: PreTrainedTokenizerBase) -> SplitExamples:
    """Loss on every token but the first, which nothing comes before."""
    rows = [(p.split, Example(tuple(tokenizer.encode(p.text, add_special_tokens=False)), 1)) for p in passages]
    return SplitExamples([e for s, e in rows if s == "training"], [e for s, e in rows if s == "validation"])


def padded_shape(examples: Sequence[Example]) -> Shape:
    """The shape of the batch that `collate` makes of them."""
    lengths = [len(example.tokens) for example in examples]
    labels = sum(len(example.tokens) - example.answer_start for example in examples)
    return Shape(len(examples), max(lengths), sum(lengths), labels)


def collate(examples: Sequence[Example], device: str = "cpu") -> Batch:
    """A row an example."""
    return _fill([[example] for example in examples], device)


def collate_end_to_end(examples: Sequence[Example], device: str = "cpu") -> Batch:
    """One row, without padding."""
    return _fill([examples], device)


def collate_packed(examples: Sequence[Example], length: int, device: str = "cpu") -> Batch:
    """Rows of at most `length` tokens (more only for an example that is longer by itself), filled first fit."""
    rows: list[list[Example]] = []
    for example in examples:
        fitting = (row for row in rows if sum(len(e.tokens) for e in row) + len(example.tokens) <= length)
        row = next(fitting, None)
        if row is None:
            rows.append([example])
        else:
            row.append(example)
    return _fill(rows, device)


def _fill(rows: Sequence[Sequence[Example]], device: str) -> Batch:
    lengths = [sum(len(example.tokens) for example in row) for row in rows]
    tokens = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    labels = torch.full_like(tokens, IGNORED)
    positions = torch.arange(max(lengths)).repeat(len(rows), 1)
    for i, row in enumerate(rows):
        begin = 0
        for example in row:
            end, start = begin + len(example.tokens), begin + example.answer_start
            tokens[i, begin:end] = torch.tensor(example.tokens)
            labels[i, start - 1 : end - 1] = tokens[i, start:end]  # position t predicts token t + 1
            positions[i, begin:] = torch.arange(max(lengths) - begin)
            begin = end
    shape = Shape(len(rows), max(lengths), sum(lengths), int((labels != IGNORED).sum()))
    is_packed = any(len(row) > 1 for row in rows)
    return Batch(tokens.to(device), labels.to(device), shape, positions.to(device) if is_packed else None)


def in_batches(examples: Sequence[Example], batch_size: int) -> Iterable[Sequence[Example]]:
    return (examples[i : i + batch_size] for i in range(0, len(examples), batch_size))
