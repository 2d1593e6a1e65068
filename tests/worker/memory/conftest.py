"""A Llama so small that every method trains in a second, as a configuration and as a model."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from labs.memory.recipe import Recipe
from worker.training.examples import Example

SMALL = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
EXAMPLES = [Example(tuple(range(1, 12)), 6) for _ in range(32)]


def small_recipe(layers: int = 2, **wish) -> Recipe:
    config = SMALL | {"num_hidden_layers": layers}
    asked = {"weights": "float32", "rank": 4, "sequence_length": 16, "batch_size": 2} | wish
    return Recipe(config=json.dumps(config), **asked)


@pytest.fixture
def small_model():
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**SMALL))
