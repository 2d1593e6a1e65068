"""The recipe of the random model of the tests: small enough for exact arithmetic, shaped like SmolLM2."""

from typing import Any

TINY_SEED = 20240229
TINY_RECIPE: dict[str, Any] = {
    "seed": TINY_SEED,
    "vocab_size": 258,  # 256 bytes, end of text, padding
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
