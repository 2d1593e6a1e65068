"""How much does each step on the way from plain full fine-tuning to QLoRA save?"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from kb.text import Text
from labs.catalog.memory_simulator import CATEGORIES, CATEGORY, gib
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, parameter
from labs.memory.recipe import ArchitectureName, Recipe
from labs.shared import Rank

Rung = Literal["float32", "bfloat16", "checkpointing", "fused-loss", "adamw-8bit", "lora", "nf4"]
RUNGS: tuple[Rung, ...] = get_args(Rung)
# What each rung changes, beside all that the rungs before it have changed.
CHANGES: dict[Rung, dict[str, Any]] = {
    "float32": {"method": "full", "weights": "float32"},
    "bfloat16": {"weights": "bfloat16"},
    "checkpointing": {"checkpointing": "non-reentrant"},
    "fused-loss": {"loss": "fused"},
    "adamw-8bit": {"optimizer": "adamw-8bit"},
    "lora": {"method": "lora"},
    "nf4": {"weights": "nf4"},
}
TITLES: dict[str, Text] = {
    "float32": Text(en="full fine-tuning in float32", zh="float32 全量微调"),
    "bfloat16": Text(en="+ bfloat16", zh="+ bfloat16"),
    "checkpointing": Text(en="+ checkpointing", zh="+ 重计算"),
    "fused-loss": Text(en="+ fused loss", zh="+ 融合损失"),
    "adamw-8bit": Text(en="+ 8-bit AdamW", zh="+ 8 位 AdamW"),
    "lora": Text(en="+ LoRA", zh="+ LoRA"),
    "nf4": Text(en="+ NF4 (QLoRA)", zh="+ NF4（QLoRA）"),
}


def recipe_of(rung: Rung, model: str, rank: int, batch_size: int, sequence_length: int) -> Recipe:
    """The recipe after all changes up to this rung."""
    raw: dict[str, Any] = {"model": model, "rank": rank, "batch_size": batch_size, "sequence_length": sequence_length}
    for name in RUNGS[: RUNGS.index(rung) + 1]:
        raw |= CHANGES[name]
    return Recipe(**raw)


class MemoryLadderParameters(Parameters):
    model: ArchitectureName = parameter(
        "llama-2-7b",
        Text(en="Model", zh="模型"),
        Text(en="Its shape; weights are not needed.", zh="只需要形状，不需要权重。"),
    )
    batch_size: Annotated[int, Field(ge=1, le=64)] = parameter(
        1, Text(en="Micro-batch", zh="微批大小"), Text(en="Rows in one forward pass.", zh="一次前向传播的行数。")
    )
    sequence_length: Annotated[int, Field(ge=16, le=16_384)] = parameter(
        2048, Text(en="Sequence length", zh="序列长度"), Text(en="Tokens in a row.", zh="每行的 token 数。")
    )
    rank: Rank = 16


RUNG = Text(en="recipe", zh="配置")

LAB = Lab(
    slug="memory-ladder",
    group="memory",
    version=1,
    title=Text(en="From full fine-tuning to QLoRA, step by step", zh="从全量微调到 QLoRA，一步一步省"),
    question=Text(
        en="Which change saves how much memory, and does the order in which they are made matter?",
        zh="每一项改动各省多少显存？先后次序有没有影响？",
    ),
    summary=Text(
        en="Starts with full fine-tuning in float32 and changes one thing at a time, keeping all changes "
        "made before: "
        "bfloat16, gradient checkpointing, a fused loss, 8-bit optimizer states, LoRA, a base in NF4. Each recipe is "
        "simulated operation by operation; what the peak consists of is shown for every one.",
        zh="从 float32 全量微调出发，每次只改一项，并保留之前的改动：bfloat16、梯度检查点、融合损失、8 位优化器状态、"
        "LoRA、NF4 基座。每种配置都逐个算子模拟，并给出峰值的构成。",
    ),
    takeaway=Text(
        en="A change saves only what was in the peak when it was made. Halving the width of the numbers "
        "takes the peak "
        "to [[claim:ladder-bfloat16-share]] of what it was. Checkpointing before the optimizer has been "
        "dealt with saves "
        "[[claim:ladder-checkpointing-saving]], because the peak of full fine-tuning lies in the "
        "optimizer step, where no "
        "activation is left. LoRA takes gradients and states away, and then the base is most of what "
        "remains, so that "
        "NF4 saves [[claim:ladder-nf4-saving]] of the rest. Ask where the peak is before you choose what to change.",
        zh="一项改动只能省下当时就在峰值里的东西。数值位宽减半，峰值降到原来的 [[claim:ladder-bfloat16-share]]。"
        "优化器还没处理时先开重计算，只省 [[claim:ladder-checkpointing-saving]]：全量微调的峰值在优化器更新时，"
        "那时已经没有激活。LoRA 去掉了梯度和优化器状态，剩下的大头就是基座，所以 NF4 又省下其余的 "
        "[[claim:ladder-nf4-saving]]。先弄清峰值在哪里，再决定改什么。",
    ),
    parameters=MemoryLadderParameters,
    metrics=(
        gib("reserved", Text(en="Reserved", zh="已预留")),
        gib("peak", Text(en="Most memory of tensors at once", zh="张量占用的峰值")),
        Metric(
            "saving",
            Text(en="Less than the recipe before", zh="比前一种配置少"),
            "%",
            stochastic=False,
            better="higher",
        ),
        Metric(
            "share_of_first",
            Text(en="Share of the first recipe's peak", zh="占第一种配置峰值的比例"),
            "%",
            stochastic=False,
            better="lower",
        ),
        gib("at_peak", Text(en="Part of the peak", zh="峰值的构成")),
    ),
    charts=(
        Chart(
            "peak",
            Text(en="The peak, recipe by recipe", zh="各配置的峰值"),
            x="rung",
            kind="bar",
            x_title=RUNG,
            x_titles=TITLES,
        ),
        Chart(
            "at_peak",
            Text(en="What the peak consists of", zh="峰值的构成"),
            x="category",
            series="rung",
            kind="bar",
            x_title=CATEGORY,
            x_titles=CATEGORIES,
            series_titles=TITLES,
        ),
    ),
    guesses=(
        Guess(
            "no-saving",
            "which",
            Text(
                en="Which of these steps, taken in this order, do not lower the peak at all?",
                zh="按这个顺序逐项改动，哪些完全没有降低峰值？",
            ),
            "saving",
            (
                "against=before,rung=bfloat16",
                "against=before,rung=checkpointing",
                "against=before,rung=fused-loss",
                "against=before,rung=adamw-8bit",
                "against=before,rung=lora",
                "against=before,rung=nf4",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=15),
        "standard": Preset({}, seeds=(0, 1, 2), expected_seconds=60),
        "gpu": Preset({"model": "llama-2-70b", "batch_size": 4}, seeds=(0,), expected_seconds=90),
    },
)
