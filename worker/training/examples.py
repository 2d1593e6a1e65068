"""From questions and answers to token tensors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from worker.data.facts import Fact

IGNORED = -100  # a label that no loss is taken on, as in transformers


@dataclass(frozen=True)
class Example:
    """Tokens of one prompt with its answer; the loss is taken on the tokens from `answer_start` on."""

    tokens: tuple[int, ...]
    answer_start: int

    def __post_init__(self) -> None:
        if not 0 < self.answer_start < len(self.tokens):
            raise ValueError(f"Invalid answer_start: {self.answer_start} of {len(self.tokens)} tokens")


@dataclass(frozen=True)
class Batch:
    """Right-padded to its longest row. No attention mask: under causal attention no token sees the padding after it."""

    tokens: Tensor  # (B, T)
    labels: Tensor  # (B, T), the token that each position should predict, or IGNORED


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


def collate(examples: Sequence[Example], device: str = "cpu") -> Batch:
    length = max(len(example.tokens) for example in examples)
    tokens = torch.zeros(len(examples), length, dtype=torch.long)
    labels = torch.full((len(examples), length), IGNORED)
    for row, example in enumerate(examples):
        size, start = len(example.tokens), example.answer_start
        tokens[row, :size] = torch.tensor(example.tokens)
        labels[row, start - 1 : size - 1] = tokens[row, start:size]  # position t predicts token t + 1
    return Batch(tokens.to(device), labels.to(device))


def in_batches(examples: Sequence[Example], batch_size: int) -> Iterable[Sequence[Example]]:
    return (examples[i : i + batch_size] for i in range(0, len(examples), batch_size))
