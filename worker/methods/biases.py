"""BitFit (Ben Zaken et al. 2021): train biases and nothing else."""

from torch import nn
from transformers import PreTrainedModel

from worker.methods.setting import Attached, Setting
from worker.quantisation import layer_linears


def attach_biases(model: PreTrainedModel, setting: Setting) -> Attached:
    """Every linear layer inside the blocks trains its bias; one that has none, as in Llama, gets one of zeros."""
    model.requires_grad_(False)
    for _, _, layer in layer_linears(model):
        if layer.bias is None:
            layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features))
        layer.bias.requires_grad_(True)
    return Attached()
