"""The `config.json` of every model that the project ships, and the checks that a pasted one has to pass.

Nothing is built from a configuration before it went through `checked`: what comes out has only keys that say something
about the shape, each of the right type and within bounds, so that no pasted text can start code or ask for a model of
any size. The files hold what the released checkpoints' own `config.json` say (GPT-3: Brown et al. 2020, Table 2.1).
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from labs.memory.shapes import ModelShape

FOLDER = Path(__file__).with_name("architectures")
NAMES = (
    "llama-7b",
    "llama-13b",
    "llama-33b",
    "llama-65b",
    "llama-2-7b",
    "llama-2-13b",
    "llama-2-70b",
    "llama-3-8b",
    "llama-3.1-8b",
    "llama-3.1-70b",
    "llama-3.1-405b",
    "llama-3.2-1b",
    "llama-3.2-3b",
    "mistral-7b",
    "mixtral-8x7b",
    "qwen2.5-0.5b",
    "qwen2.5-1.5b",
    "qwen2.5-3b",
    "qwen2.5-7b",
    "qwen2.5-14b",
    "qwen2.5-32b",
    "qwen2.5-72b",
    "gemma-2-2b",
    "gemma-2-9b",
    "gpt2",
    "gpt2-medium",
    "gpt2-large",
    "gpt2-xl",
    "gpt-3-175b",
    "smollm2-135m",
)

# A config.json of a large model has two or three thousand characters; long rope tables make some ten thousand.
MAX_TEXT = 50_000
MAX_PARAMETERS = 2_000_000_000_000
MAX_LAYERS = 1000
MAX_HIDDEN = 65_536
MAX_INTERMEDIATE = 1_048_576
MAX_HEADS = 1024
MAX_HEAD_SIZE = 1024
MAX_VOCABULARY = 2_097_152
MAX_POSITIONS = 16_777_216
MAX_EXPERTS = 512

ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "relu")
ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "longrope", "llama3")
ATTENTION_TYPES = ("full_attention", "sliding_attention")
# Keys by which a checkpoint brings code of its own.
CODE = ("auto_map", "custom_pipelines", "trust_remote_code")


class ConfigError(ValueError):
    """A configuration that nothing may be built from; says of each field what it has and what is allowed."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("; ".join(errors))


@dataclass(frozen=True)
class Family:
    """What the configurations of one `model_type` have in common, as transformers reads them."""

    class_name: str
    tied: bool = False  # where the configuration does not say
    head_size: int | None = None  # where the configuration does not say; None: hidden size / heads
    norms: int = 2
    head_norms: bool = False
    query_biased: bool = False
    has_attention_bias: bool = False  # knows the key `attention_bias`
    has_mlp_bias: bool = False
    optional: tuple[str, ...] = ()  # further keys that it reads
    fixed: tuple[tuple[str, Any], ...] = ()  # instead of a default that does not suit every size


WINDOW = ("sliding_window",)
WINDOWS = (*WINDOW, "use_sliding_window", "max_window_layers", "layer_types")
FAMILIES = {
    "llama": Family("LlamaForCausalLM", has_attention_bias=True, has_mlp_bias=True),
    "mistral": Family("MistralForCausalLM", optional=WINDOW),
    "mixtral": Family("MixtralForCausalLM", optional=(*WINDOW, "output_router_logits", "router_aux_loss_coef")),
    "qwen2": Family("Qwen2ForCausalLM", query_biased=True, optional=WINDOWS),
    "qwen3": Family("Qwen3ForCausalLM", head_size=128, head_norms=True, has_attention_bias=True, optional=WINDOWS),
    "gemma": Family("GemmaForCausalLM", tied=True, head_size=256, has_attention_bias=True),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        tied=True,
        head_size=256,
        norms=4,
        has_attention_bias=True,
        optional=(
            *WINDOW,
            "layer_types",
            "query_pre_attn_scalar",
            "final_logit_softcapping",
            "attn_logit_softcapping",
            "hidden_activation",
        ),
    ),
    "gpt2": Family("GPT2LMHeadModel", tied=True),
    # its default padding token lies beyond a smaller vocabulary
    "phi3": Family("Phi3ForCausalLM", optional=WINDOW, fixed=(("pad_token_id", None),)),
}
# The keys of the others under the names that GPT-2 gives them.
GPT2_KEYS = {
    "hidden_size": "n_embd",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
    "max_position_embeddings": "n_positions",
    "intermediate_size": "n_inner",
    "hidden_act": "activation_function",
    "rms_norm_eps": "layer_norm_epsilon",
}
SIZES = {
    "hidden_size": (8, MAX_HIDDEN),
    "num_hidden_layers": (1, MAX_LAYERS),
    "num_attention_heads": (1, MAX_HEADS),
    "intermediate_size": (8, MAX_INTERMEDIATE),
    "vocab_size": (8, MAX_VOCABULARY),
    "max_position_embeddings": (8, MAX_POSITIONS),
    "num_key_value_heads": (1, MAX_HEADS),
    "head_dim": (2, MAX_HEAD_SIZE),
    "num_local_experts": (2, MAX_EXPERTS),
    "num_experts_per_tok": (1, MAX_EXPERTS),
    "sliding_window": (1, MAX_POSITIONS),
    "max_window_layers": (0, MAX_LAYERS),
    "query_pre_attn_scalar": (1, MAX_HIDDEN),
}
REQUIRED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)
# Here null says something else than leaving the key out.
NULLABLE = ("sliding_window", "final_logit_softcapping", "attn_logit_softcapping")
FLAGS = ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window", "output_router_logits")


@cache
def _read(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def architecture(name: str) -> dict[str, Any]:
    """The configuration of a shipped model; ConfigError names the known ones."""
    if name not in NAMES:
        raise ConfigError([f"model = {name!r:.80}: allowed: {', '.join(NAMES)}"])
    return checked(json.loads(_read(name)))


def parse(text: str) -> dict[str, Any]:
    """The configuration in a pasted `config.json`, checked; ConfigError says everything that is wrong with it."""
    if len(text) > MAX_TEXT:
        raise ConfigError([f"config has {len(text):,} characters: allowed: at most {MAX_TEXT:,}"])
    try:
        # parse_constant: NaN and Infinity are no JSON, though Python reads them
        config = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as e:
        raise ConfigError([f"config is not JSON: line {e.lineno}, column {e.colno}: {e.msg}"]) from None
    except (ValueError, RecursionError) as e:
        raise ConfigError([f"config is not JSON: {e}"]) from None
    if not isinstance(config, dict):
        raise ConfigError([f"config = {_shown(config)}: allowed: a JSON object, the contents of a config.json"])
    return checked(config)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def checked(config: dict[str, Any]) -> dict[str, Any]:
    """Only what says something about the shape, in transformers' names, with every default written out."""
    family = _family(config)
    errors: list[str] = []
    keys = [key for key in _keys(config["model_type"], family) if key in config]
    kept = {key: config[key] for key in keys if config[key] is not None or key in NULLABLE}
    for key, value in kept.items():
        errors += [] if value is None else _type_errors(key, value)
    errors += [
        f"{key} is missing: allowed: {_bounds(key)}" for key in _required(config["model_type"]) if kept.get(key) is None
    ]
    if errors:
        raise ConfigError(errors)
    kept |= {"model_type": config["model_type"], "architectures": [family.class_name], **dict(family.fixed)}
    kept.setdefault("tie_word_embeddings", family.tied)
    errors = _contradictions(kept)
    if errors:
        raise ConfigError(errors)
    return dict(sorted(kept.items()))


def shape(config: dict[str, Any]) -> ModelShape:
    """The dimensions of a checked configuration."""
    if config["model_type"] == "gpt2":
        return _gpt2_shape(config)
    family = FAMILIES[config["model_type"]]
    heads = config["num_attention_heads"]
    has_attention_bias = bool(config.get("attention_bias"))
    return ModelShape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        intermediate=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads", heads),
        head_size=head_size(config),
        vocabulary=config["vocab_size"],
        tied=config["tie_word_embeddings"],
        query_biased=family.query_biased or has_attention_bias,
        output_biased=has_attention_bias,
        mlp_biased=bool(config.get("mlp_bias")),
        norms=family.norms,
        head_norms=family.head_norms,
        experts=config.get("num_local_experts", 0),
    )


def _gpt2_shape(config: dict[str, Any]) -> ModelShape:
    hidden, heads = config["n_embd"], config["n_head"]
    return ModelShape(
        layers=config["n_layer"],
        hidden=hidden,
        intermediate=config.get("n_inner", 4 * hidden),
        heads=heads,
        kv_heads=heads,
        head_size=hidden // heads,
        vocabulary=config["vocab_size"],
        tied=config["tie_word_embeddings"],
        gated=False,
        biased=True,
        learned_positions=config["n_positions"],
    )


def head_size(config: dict[str, Any]) -> int:
    """Width of one attention head: `head_dim`, the family's own width, or hidden size / heads."""
    if config["model_type"] == "gpt2":
        return config["n_embd"] // config["n_head"]
    default = FAMILIES[config["model_type"]].head_size or config["hidden_size"] // config["num_attention_heads"]
    return config.get("head_dim", default)


def positions(config: dict[str, Any]) -> int:
    """The longest sequence that the configuration is made for."""
    return config["n_positions" if config["model_type"] == "gpt2" else "max_position_embeddings"]


def parameters(config: dict[str, Any]) -> int:
    """All parameters of a checked configuration."""
    return shape(config).parameters()


# What is allowed


def _family(config: dict[str, Any]) -> Family:
    errors = [
        f"{key} is refused: it names code that came with the checkpoint, and no such code is run here"
        for key in CODE
        if key in config
    ]
    known, model_type = ", ".join(FAMILIES), config.get("model_type")
    if model_type is None:
        errors.append(f"model_type is missing: allowed: {known}")
    elif not isinstance(model_type, str) or model_type not in FAMILIES:
        nested = " (paste what is under text_config)" if isinstance(config.get("text_config"), dict) else ""
        errors.append(f"model_type = {_shown(model_type)}: allowed: {known}{nested}")
    if errors:
        raise ConfigError(errors)
    return FAMILIES[str(model_type)]


def _keys(model_type: str, family: Family) -> list[str]:
    """The keys that a family's configuration keeps."""
    if model_type == "gpt2":
        return [*GPT2_KEYS.values(), "vocab_size", "tie_word_embeddings", "attn_pdrop", "embd_pdrop", "resid_pdrop"]
    keys = [*REQUIRED, "num_key_value_heads", "head_dim", "hidden_act", "rms_norm_eps", "tie_word_embeddings"]
    keys += ["rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "attention_dropout"]
    keys += ["attention_bias"] if family.has_attention_bias else []
    keys += ["mlp_bias"] if family.has_mlp_bias else []
    keys += ["num_local_experts", "num_experts_per_tok"] if model_type == "mixtral" else []
    return [*keys, *family.optional]


def _required(model_type: str) -> list[str]:
    if model_type == "gpt2":
        return [GPT2_KEYS.get(key, key) for key in REQUIRED if key != "intermediate_size"]
    return [*REQUIRED, "num_local_experts", "num_experts_per_tok"] if model_type == "mixtral" else list(REQUIRED)


def _own_name(key: str) -> str:
    """A key of GPT-2 under the name that the others give it."""
    return next((own for own, name in GPT2_KEYS.items() if name == key), key)


def _bounds(key: str) -> str:
    low, high = SIZES[_own_name(key)]
    return f"whole number from {low} to {high:,}"


def _type_errors(key: str, value: Any) -> list[str]:
    """What is wrong with one value by itself."""
    own = _own_name(key)
    if own in SIZES:
        low, high = SIZES[own]
        is_right, allowed = type(value) is int and low <= value <= high, _bounds(key)
    elif own in ("hidden_act", "hidden_activation"):
        is_right, allowed = value in ACTIVATIONS, ", ".join(ACTIVATIONS)
    elif own in ("rope_scaling", "rope_parameters"):
        return _rope_errors(key, value)
    elif own == "layer_types":
        is_right = isinstance(value, list) and all(kind in ATTENTION_TYPES for kind in value)
        allowed = f"a list of {', '.join(ATTENTION_TYPES)}"
    elif own in FLAGS:
        is_right, allowed = type(value) is bool, "true, false"
    else:
        is_right, allowed = type(value) in (int, float) and 0 <= value <= 1e12, "number from 0 to 1e12"
    return [] if is_right else [f"{key} = {_shown(value)}: allowed: {allowed}"]


def _rope_errors(key: str, value: Any) -> list[str]:
    if not isinstance(value, dict):
        return [f"{key} = {_shown(value)}: allowed: an object, or null"]
    kind = value.get("rope_type", value.get("type", "default"))
    if kind not in ROPE_TYPES:
        return [f"{key}.rope_type = {_shown(kind)}: allowed: {', '.join(ROPE_TYPES)}"]
    wrong = [(name, entry) for name, entry in value.items() if not _is_plain(entry)]
    return [f"{key}.{name:.40} = {_shown(entry)}: allowed: numbers, or a list of them" for name, entry in wrong]


def _is_plain(value: Any) -> bool:
    entries = value if isinstance(value, list) else [value]
    return all(isinstance(entry, int | float | str) or entry is None for entry in entries)


def _contradictions(config: dict[str, Any]) -> list[str]:
    """What no single field is wrong about; the types are right already."""
    errors = _head_errors(config)
    layers = config.get("num_hidden_layers")
    if "layer_types" in config and len(config["layer_types"]) != layers:
        errors.append(f"layer_types has {len(config['layer_types'])} entries: allowed: one a layer, {layers}")
    experts = config.get("num_local_experts", 0)
    if config.get("num_experts_per_tok", 0) > experts:
        errors.append(f"num_experts_per_tok = {config['num_experts_per_tok']}: allowed: at most {experts} experts")
    if not errors and parameters(config) > MAX_PARAMETERS:
        count, limit = parameters(config) / 1e9, MAX_PARAMETERS / 1e9
        errors.append(f"the model has {count:,.0f} billion parameters: allowed: at most {limit:,.0f}")
    return errors


def _head_errors(config: dict[str, Any]) -> list[str]:
    is_gpt2 = config["model_type"] == "gpt2"
    heads_key, hidden_key = ("n_head", "n_embd") if is_gpt2 else ("num_attention_heads", "hidden_size")
    heads, hidden = config[heads_key], config[hidden_key]
    is_free = "head_dim" in config or FAMILIES[config["model_type"]].head_size
    errors = []
    if not is_free and hidden % heads:
        errors.append(f"{heads_key} = {heads}: allowed: a divisor of {hidden_key} = {hidden}")
    elif not is_gpt2 and head_size(config) % 2:
        errors.append(f"head_dim = {head_size(config)}: allowed: even numbers (rotary positions turn pairs)")
    kv_heads = config.get("num_key_value_heads", heads)
    if heads % kv_heads:
        errors.append(f"num_key_value_heads = {kv_heads}: allowed: a divisor of {heads_key} = {heads}")
    return errors


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:80]
