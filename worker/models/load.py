"""Loading models and tokenizers from the store: local files, safetensors, no code from elsewhere."""

from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from worker.models.store import model_folder, model_source
from worker.models.tiny import tiny_model, tiny_tokenizer

disable_progress_bar()  # the log of a run is read afterwards


def load_causal_lm(name: str, *, dtype: torch.dtype, device: str, cache_dir: Path) -> PreTrainedModel:
    """A prepared language model in evaluation mode; ValueError for a name that is none."""
    source = model_source(name)
    if source.kind != "causal-lm":
        raise ValueError(f"Model {name!r} is an {source.kind}, not a causal language model")
    model = _from_folder(model_folder(name, cache_dir), dtype) if source.package else tiny_model(dtype)
    return cast("PreTrainedModel", model.to(device).eval())


def _from_folder(folder: Path, dtype: torch.dtype) -> nn.Module:
    model: nn.Module = AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    return model


def load_encoder(name: str, *, device: str, cache_dir: Path) -> PreTrainedModel:
    """A prepared model of any kind without an output layer, in float32 and evaluation mode: it gives hidden states."""
    if not model_source(name).package:
        return cast("PreTrainedModel", tiny_model().base_model.to(device).eval())
    model: nn.Module = AutoModel.from_pretrained(
        str(model_folder(name, cache_dir)),
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    return cast("PreTrainedModel", model.to(device).eval())


def load_weights(name: str, *, cache_dir: Path) -> dict[str, torch.Tensor]:
    """The tensors of a prepared model, without building it."""
    source = model_source(name)
    if not source.package:
        return dict(tiny_model(torch.float32).state_dict())
    return load_file(model_folder(name, cache_dir) / "model.safetensors")


def load_tokenizer(name: str, *, cache_dir: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that goes with a model."""
    if not model_source(name).package:
        return tiny_tokenizer()
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        str(model_folder(name, cache_dir)), local_files_only=True, trust_remote_code=False
    )
    return tokenizer
