"""A recipe: its names, what goes together and what does not."""

import pytest
from pydantic import ValidationError

from labs.memory.architectures import NAMES
from labs.memory.recipe import ARCHITECTURES, Recipe


def refusal(**wish) -> str:
    with pytest.raises(ValidationError) as refused:
        Recipe(**wish)
    return refused.value.errors()[0]["msg"]


def test_every_shipped_model_can_be_asked_for():
    assert set(ARCHITECTURES) == set(NAMES)


def test_a_pasted_configuration_takes_the_place_of_the_model():
    config = '{"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 128, "vocab_size": 100}'
    assert Recipe(config=config, sequence_length=128).configuration["n_embd"] == 64


def test_defaults_go_together():
    assert Recipe().tokens == 512


def test_qlora_is_lora_on_nf4_with_double_quantisation():
    assert Recipe(method="qlora") == Recipe(method="lora", weights="nf4", double_quantisation=True)
    assert Recipe(method="qlora", weights="fp4") == Recipe(method="lora", weights="fp4")
    assert not Recipe(method="qlora", double_quantisation=False).double_quantisation


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"method": "qlora", "weights": "bfloat16"}, "method qlora needs weights nf4 or fp4"),
        ({"method": "full", "weights": "nf4"}, "method full does not work on nf4 weights; lora, "),
        ({"upcast": True}, "upcast belongs to quantised weights"),
        ({"autocast": True, "weights": "float16"}, "autocast computes in bfloat16"),
        ({"attention": "flash", "weights": "float32"}, "attention flash computes in 16 bits"),
        ({"method": "ia3", "adapter_dtype": "base", "target_modules": "q_proj,v_proj"}, "ia3 has its own"),
        ({"method": "prompt"}, "choose adapter_dtype base or autocast"),
        ({"method": "ia3", "weights": "nf4"}, "choose adapter_dtype base or autocast"),
        ({"devices": 2}, "several devices need a sharding"),
        ({"sharding": "zero-3"}, "sharding zero-3 needs at least 2 devices"),
        ({"batch_size": 4096, "sequence_length": 4096}, "= 16777216 tokens; at most 1048576 are allowed"),
        ({"model": "llama-8"}, "Input should be 'smollm2-135m', "),
        ({"rank": 0}, "greater than or equal to 1"),
        ({"sequence_length": -1}, "greater than or equal to 2"),
        ({"config": "{"}, "config is not JSON"),
        ({"config": '{"model_type": "bloom"}'}, 'model_type = "bloom": allowed: llama, '),
        ({"model": "gpt2", "sequence_length": 2048}, "learned positions for 1024 tokens"),
        (
            {"model": "gpt2", "method": "ia3", "adapter_dtype": "base"},
            "method ia3 does not know GPT-2's layers; lora, ",
        ),
        ({"model": "gpt2", "target_modules": "q_proj,v_proj"}, "the layers of gpt2 have other names"),
        ({"model": "gemma-2-2b"}, "choose attention eager or flash"),
        ({"model": "mixtral-8x7b", "weights": "nf4"}, "bitsandbytes does not quantise Mixtral's experts"),
    ],
)
def test_a_contradiction_is_named(wish, message):
    assert message in refusal(**wish)


def test_autocast_makes_flash_possible():
    assert Recipe(attention="flash", weights="float32", autocast=True)
