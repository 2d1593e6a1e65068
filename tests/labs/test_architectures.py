"""The shipped configurations against the released checkpoints, and what a pasted one must not do."""

import json

import pytest

from labs.memory import architectures
from labs.memory.architectures import ConfigError, architecture, checked, parameters, parse, positions, shape

# What `sum(p.numel() for p in model.parameters())` prints for the released checkpoints; for most of them the Hub shows
# the same count beside their safetensors files.
PUBLISHED = {
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt-3-175b": 174_604_259_328,
    "smollm2-135m": 134_515_008,
}
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 128,
}
TINY_GPT2 = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 128, "vocab_size": 64}
VARIANTS = {
    "llama": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"sliding_window": None},
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 16},
    "gemma": {"attention_bias": True},
    "gemma2": {"layer_types": ["sliding_attention", "full_attention"]},
    "gpt2": {"n_inner": 80},
    "phi3": {"sliding_window": 64},
}


def tiny(family, **changes):
    """A small, valid configuration of a family; a change to ... leaves the key out."""
    config = {"model_type": family} | (TINY_GPT2 if family == "gpt2" else TINY)
    config |= {"num_local_experts": 3, "num_experts_per_tok": 2} if family == "mixtral" else {}
    return {key: value for key, value in (config | changes).items() if value is not ...}


def errors_of(config):
    with pytest.raises(ConfigError) as refused:
        parse(json.dumps(config))
    return refused.value.errors


def counted(config):
    """Parameters of what transformers builds from a configuration, without memory for them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    return sum(parameter.numel() for parameter in model.parameters())


def test_names_are_the_files():
    assert sorted(architectures.NAMES) == sorted(path.stem for path in architectures.FOLDER.glob("*.json"))
    assert set(PUBLISHED) == set(architectures.NAMES)


@pytest.mark.parametrize("name", architectures.NAMES)
def test_parameters_equal_the_released_checkpoint(name):
    assert parameters(architecture(name)) == PUBLISHED[name]


def test_gpt3_is_within_a_hundred_thousandth_of_its_paper():
    # Brown et al. 2020, Table D.1, prints 174,600 million parameters
    assert parameters(architecture("gpt-3-175b")) == pytest.approx(174_600e6, rel=1e-4)


@pytest.mark.parametrize("name", architectures.NAMES)
def test_files_hold_only_what_is_kept(name):
    written = json.loads((architectures.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert written == architecture(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.NAMES)
def test_transformers_builds_as_many(name):
    assert counted(architecture(name)) == PUBLISHED[name]


@pytest.mark.slow
@pytest.mark.parametrize("model_type", architectures.FAMILIES)
@pytest.mark.parametrize("with_variant", [False, True])
def test_transformers_builds_every_family_as_counted(model_type, with_variant):
    config = checked(tiny(model_type, **VARIANTS[model_type] if with_variant else {}))
    assert counted(config) == parameters(config)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r"model = 'llama-4': allowed: llama-7b, llama-13b"):
        architecture("llama-4")


def test_a_shipped_model_may_be_pasted():
    config = architecture("llama-3.1-8b")
    assert parse(json.dumps(config)) == config


def test_what_says_nothing_about_the_shape_is_dropped():
    noise = {"_name_or_path": "x", "torch_dtype": "float16", "quantization_config": {"bits": 4}, "pad_token_id": 999}
    assert parse(json.dumps(tiny("llama") | noise)) == checked(tiny("llama"))


def test_defaults_are_those_of_the_family():
    assert shape(checked(tiny("llama"))).tied is False
    assert shape(checked(tiny("gemma2"))).tied is True
    assert shape(checked(tiny("gemma2"))).head_size == 256
    assert shape(checked(tiny("llama"))).head_size == 8
    assert shape(checked(tiny("llama", num_key_value_heads=...))).kv_heads == 4
    assert shape(checked(tiny("gpt2", n_inner=None))).intermediate == 128


def test_null_is_kept_where_it_is_a_value():
    assert checked(tiny("mistral", sliding_window=None))["sliding_window"] is None
    assert "num_key_value_heads" not in checked(tiny("mistral", num_key_value_heads=None))


def test_positions():
    assert positions(architecture("gpt2")) == 1024
    assert positions(architecture("llama-2-7b")) == 4096


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (tiny("llama", model_type=...), "model_type is missing: allowed: llama, mistral"),
        (tiny("llama", model_type="bert"), 'model_type = "bert": allowed: llama, mistral'),
        (tiny("llama", model_type=["llama"]), 'model_type = ["llama"]: allowed: llama'),
        (tiny("llama", model_type="mllama", text_config={}), "paste what is under text_config"),
        (tiny("llama", hidden_size=...), "hidden_size is missing: allowed: whole number from 8 to 65,536"),
        (tiny("llama", hidden_size=-1), "hidden_size = -1: allowed: whole number from 8 to 65,536"),
        (tiny("llama", hidden_size=32.0), "hidden_size = 32.0: allowed: whole number"),
        (tiny("llama", hidden_size="32"), 'hidden_size = "32": allowed: whole number'),
        (tiny("llama", hidden_size=True), "hidden_size = true: allowed: whole number"),
        (tiny("llama", hidden_size=10**30), "hidden_size = 1000000"),
        (tiny("llama", num_hidden_layers=0), "num_hidden_layers = 0: allowed: whole number from 1 to 1,000"),
        (
            tiny("llama", num_attention_heads=5, num_key_value_heads=5),
            "num_attention_heads = 5: allowed: a divisor of hidden_size = 32",
        ),
        (tiny("llama", num_key_value_heads=3), "num_key_value_heads = 3: allowed: a divisor of num_attention_heads"),
        (tiny("llama", head_dim=7), "head_dim = 7: allowed: even numbers"),
        (tiny("llama", hidden_act="exec"), 'hidden_act = "exec": allowed: silu, swish'),
        (tiny("llama", tie_word_embeddings=1), "tie_word_embeddings = 1: allowed: true, false"),
        (tiny("llama", rope_theta="x"), 'rope_theta = "x": allowed: number'),
        (tiny("llama", rope_scaling=[1]), "rope_scaling = [1]: allowed: an object"),
        (tiny("llama", rope_scaling={"type": "su"}), 'rope_scaling.rope_type = "su": allowed: default, linear'),
        (tiny("llama", rope_scaling={"rope_type": "yarn", "factor": {}}), "rope_scaling.factor = {}: allowed: numbers"),
        (tiny("llama", rms_norm_eps=-1), "rms_norm_eps = -1: allowed: number from 0"),
        (tiny("mixtral", num_local_experts=...), "num_local_experts is missing: allowed: whole number from 2 to 512"),
        (tiny("mixtral", num_experts_per_tok=4), "num_experts_per_tok = 4: allowed: at most 3 experts"),
        (tiny("gemma2", layer_types=["full_attention"]), "layer_types has 1 entries: allowed: one a layer, 2"),
        (tiny("gemma2", layer_types="full_attention"), "allowed: a list of full_attention, sliding_attention"),
        (tiny("gpt2", n_embd=...), "n_embd is missing: allowed: whole number"),
        (tiny("gpt2", n_head=5), "n_head = 5: allowed: a divisor of n_embd = 32"),
        (tiny("llama", auto_map={"AutoModel": "x.y"}), "auto_map is refused: it names code"),
    ],
)
def test_it_says_which_field_has_what_and_what_is_allowed(config, error):
    found = errors_of(config)
    assert len(found) == 1
    assert error in found[0]
    assert len(found[0]) < 300


def test_it_says_everything_that_is_wrong_at_once():
    assert len(errors_of(tiny("llama", hidden_size=-1, vocab_size=None, num_hidden_layers=10**9))) == 3


def test_it_refuses_absurd_sizes_that_are_each_allowed():
    large = tiny("llama", hidden_size=65_536, intermediate_size=1_048_576, num_hidden_layers=1000)
    assert "the model has 219,043 billion" in errors_of(large)[0]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "config is not JSON: line 1, column 1"),
        ('{"a": 1,\n b}', "config is not JSON: line 2, column 2"),
        ('{"hidden_size": NaN}', "config is not JSON: NaN is not a number"),
        ("[1, 2]", "config = [1, 2]: allowed: a JSON object"),
        ("[" * 49_000, "config is not JSON"),
        ('{"hidden_size": 1' + "0" * 5000 + "}", "config is not JSON: "),
        (" " * 50_001, "config has 50,001 characters: allowed: at most 50,000"),
    ],
)
def test_it_refuses_what_is_no_configuration(text, error):
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert error in str(refused.value)
