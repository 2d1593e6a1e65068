"""GGUF to safetensors."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar


def convert_gguf(gguf: Path, folder: Path) -> Path:
    """Write config, tokenizer and float32 weights of a GGUF file to `folder`; returns the weights' path.

    A model loaded from GGUF refuses `save_pretrained` because it still counts as quantised. So its state dict moves
    into a fresh model of the same config, which also keeps input and output embeddings tied.
    """
    disable_progress_bar()
    loaded = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
    )
    config = AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.float32
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.save_pretrained(str(folder))
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    tokenizer.save_pretrained(str(folder))
    return folder / "model.safetensors"
