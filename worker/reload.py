"""Load kept adapters with plain PEFT and measure them again: `python -m worker.reload --models FOLDER ADAPTER.zip …`.

A process of its own, in which nothing of the run is left. It takes nothing of the labs' evaluation either: one example
at a time through the model's own forward pass, with the logits of all positions.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import PeftModel
from torch.nn import functional as F  # noqa: N812 (its usual name)

from worker.data.sets import load
from worker.keeping import Measured, unpack
from worker.models.load import load_causal_lm, load_tokenizer
from worker.quantisation import to_four_bit
from worker.training.examples import Example, encode_facts


def measure_again(path: Path, models: Path) -> float:
    """The mean loss per answer token of the adapter in that file."""
    with tempfile.TemporaryDirectory() as folder:
        measured = unpack(path, Path(folder))
        base = load_causal_lm(measured.model, dtype=torch.float32, device="cpu", cache_dir=models)
        if measured.base == "nf4":
            to_four_bit(base)
        return plain_loss(PeftModel.from_pretrained(base, folder), examples_of(measured, models))


def examples_of(measured: Measured, models: Path) -> Sequence[Example]:
    found: Sequence[Example] = getattr(
        encode_facts(load(measured.data), load_tokenizer(measured.model, cache_dir=models)), measured.split
    )
    return found


@torch.inference_mode()
def plain_loss(model: PeftModel, examples: Sequence[Example]) -> float:
    total, count = 0.0, 0
    for example in examples:
        tokens = torch.tensor(example.tokens)
        logits = model(input_ids=tokens[None]).logits[0]
        answer = tokens[example.answer_start :]
        total += F.cross_entropy(logits[example.answer_start - 1 : -1], answer, reduction="sum").item()
        count += len(answer)
    return total / count


def main() -> None:
    """One JSON object: the loss by file name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("adapters", type=Path, nargs="+")
    options = parser.parse_args()
    losses = {path.name: measure_again(path, options.models) for path in options.adapters}
    sys.stdout.write(json.dumps(losses) + "\n")


if __name__ == "__main__":
    main()
