"""Store weights with bitsandbytes and count the bytes of everything that it keeps."""

from collections.abc import Iterable
from typing import Any

import torch
from bitsandbytes.functional import QuantState
from bitsandbytes.nn.modules import Int8Params
from torch import Tensor

from kb.text import Text
from labs.catalog.quantisation_bits import PARTS, TENSORS, QuantisationBitsParameters, Storage
from labs.formulas.lora import nf4_bits_per_parameter
from worker.context import RunContext
from worker.quantisation import four_bit_block, four_bit_weight, layer_linears, stored_bytes

# The tensors of one weight by their kind.
Stored = dict[str, list[Tensor]]


def run(params: QuantisationBitsParameters, lab: RunContext) -> None:
    total = len(PARTS) * len(params.storages)
    done = 0
    for part in ("encoder", "language"):
        matrices = matrices_of(params, lab, part)
        for storage in params.storages:
            lab.progress(done, total, Text(en=f"{part}: {storage}", zh=f"{part}：{storage}"))
            log(lab, part, storage, lab.seeds, matrices)
            done += 1
    for seed in lab.seeds:
        layer = [random_layer(params, seed)]
        for storage in params.storages:
            lab.progress(done, total, Text(en=f"large layer: {storage}", zh=f"大矩阵：{storage}"))
            log(lab, "layer", storage, [seed], layer)
        del layer
    lab.progress(total, total)


def matrices_of(params: QuantisationBitsParameters, lab: RunContext, part: str) -> list[Tensor]:
    """The weights of all linear layers inside a model's layers."""
    model = lab.encoder(params.encoder) if part == "encoder" else lab.model(params.model)
    return [linear.weight.data for _, _, linear in layer_linears(model)]


def random_layer(params: QuantisationBitsParameters, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(params.rows, params.columns, generator=generator) * 0.02


def log(lab: RunContext, part: str, storage: Storage, seeds: Iterable[int], matrices: list[Tensor]) -> None:
    """Weights are counted once: nothing of it depends on a seed."""
    due = [seed for seed in seeds if not lab.point(seed=seed, part=part, storage=storage).is_finished]
    if not due:
        return
    weights = sum(matrix.numel() for matrix in matrices)
    bits = {kind: 8 * size / weights for kind, size in counted(matrices, storage).items()}
    formula = sum(formula_bits(matrix, storage) * matrix.numel() for matrix in matrices) / weights
    for seed in due:
        for kind, value in bits.items():
            with lab.point(seed=seed, part=part, storage=storage, tensor=kind) as point:
                if not point.is_finished:
                    point.log("tensor_bits", value)
        with lab.point(seed=seed, part=part, storage=storage) as point:
            point.log("bits_per_parameter", sum(bits.values()))
            point.log("formula_bits", formula)
            point.log("excess_bits", sum(bits.values()) - formula)
            point.log("weights_counted", weights)


def counted(matrices: list[Tensor], storage: Storage) -> dict[str, int]:
    """Bytes by kind of tensor; a table that several matrices share counts once."""
    stored: Stored = {kind: [] for kind in TENSORS}
    for matrix in matrices:
        for kind, tensors in stored_tensors(matrix, storage).items():
            stored[kind] += tensors
    return {kind: stored_bytes(tensors) for kind, tensors in stored.items()}


def stored_tensors(matrix: Tensor, storage: Storage) -> Stored:
    """What bitsandbytes keeps of a weight, in its own classes."""
    weight: Any
    if storage == "int8":
        raw: Any = Int8Params(matrix.cpu(), requires_grad=False)
        weight = raw.to(matrix.device)
        return {"codes": [weight.data], "constants": [weight.SCB]}
    form: Any = storage.removesuffix("-double")
    weight = four_bit_weight(matrix, form, double=storage.endswith("-double"))
    return {"codes": [weight.data], **constants_and_tables(weight.quant_state)}


def constants_and_tables(state: QuantState) -> Stored:
    nested = constants_and_tables(state.state2) if state.nested else {"constants": [], "tables": []}
    offset = [] if state.offset is None else [state.offset]
    return {"constants": [state.absmax, *offset, *nested["constants"]], "tables": [state.code, *nested["tables"]]}


def formula_bits(matrix: Tensor, storage: Storage) -> float:
    """Codes and the constants of blocks; for int8 the codes alone."""
    if storage == "int8":
        return 8.0
    return nf4_bits_per_parameter(storage.endswith("-double"), four_bit_block(matrix.shape[1]))
