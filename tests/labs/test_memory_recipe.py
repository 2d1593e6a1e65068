"""A recipe: its names, what goes together and what does not."""

import pytest
from pydantic import ValidationError

from labs.memory.recipe import Recipe


def refusal(**wish) -> str:
    with pytest.raises(ValidationError) as refused:
        Recipe(**wish)
    return refused.value.errors()[0]["msg"]


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
        ({"method": "ia3", "target_modules": "q_proj,v_proj"}, "ia3 has its own"),
        ({"devices": 2}, "several devices need a sharding"),
        ({"sharding": "zero-3"}, "sharding zero-3 needs at least 2 devices"),
        ({"batch_size": 4096, "sequence_length": 4096}, "= 16777216 tokens; at most 1048576 are allowed"),
        ({"model": "llama-8"}, "Input should be 'smollm2-135m', "),
        ({"rank": 0}, "greater than or equal to 1"),
        ({"sequence_length": -1}, "greater than or equal to 2"),
    ],
)
def test_a_contradiction_is_named(wish, message):
    assert message in refusal(**wish)


def test_autocast_makes_flash_possible():
    assert Recipe(attention="flash", weights="float32", autocast=True)
