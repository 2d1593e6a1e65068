"""Is a merged adapter the same model, and is it faster?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import (
    LOSS,
    NATS,
    VALIDATION_LOSS,
    Alpha,
    BatchSize,
    LanguageModel,
    LearningRate,
    Rank,
    Steps,
    TargetModules,
    different,
)

Dtype = Literal["float32", "bfloat16", "float16"]
FourBit = Literal["nf4", "fp4"]
MergePath = Literal["float32", "bfloat16", "original", "requantise", "peft"]
Shape = Literal["1x1", "1x16", "1x64", "4x64", "8x64"]


class MergeCheckParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m", Text(en="The language model that the adapter is trained on.", zh="在其上训练适配器的语言模型。")
    )
    rank: Rank = explained(8, Text(en="The rank r of the adapter.", zh="适配器的秩 r。"))
    alpha: Alpha = 16
    target_modules: TargetModules = "all-linear"
    steps: Steps = explained(
        20,
        Text(
            en="Optimiser steps before the merge. An untrained adapter changes nothing, so nothing could be seen.",
            zh="合并之前的优化步数：未经训练的适配器不改变任何输出，也就无从比较。",
        ),
    )
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 1e-3
    dtypes: list[Dtype] = parameter(
        ["float32", "bfloat16", "float16"],
        Text(en="Number formats", zh="数值格式"),
        Text(
            en="Formats of the weights in which to merge and compare. On a CPU float16 is not timed.",
            zh="在哪些权重格式下合并并比较。CPU 上不对 float16 计时。",
        ),
        min_length=1,
        max_length=3,
    )
    four_bit: list[FourBit] = parameter(
        ["nf4"],
        Text(en="4-bit bases", zh="4 位基座"),
        Text(
            en="Bases on which an adapter of its own is trained and merged in every way; none to leave them out.",
            zh="在其上另外训练一个适配器、并用各种方式合并的 4 位基座；留空则略去。",
        ),
        max_length=2,
    )
    shapes: list[Shape] = parameter(
        ["1x1", "1x64", "4x64"],
        Text(en="Shapes to time", zh="计时的输入形状"),
        Text(
            en="Batch × tokens of one forward pass. 1x1 is close to one step of generating text.",
            zh="一次前向计算的批大小 × 词元数。1x1 接近生成文本时的一步。",
        ),
        min_length=1,
        max_length=5,
    )
    repeats: Annotated[int, Field(ge=3, le=200)] = parameter(
        10,
        Text(en="Repeats", zh="重复次数"),
        Text(
            en="Timed passes of each variant; the variants take turns, and the median counts.",
            zh="每个变体计时的次数；各变体轮流执行，取中位数。",
        ),
    )

    _are_different = different("dtypes", "shapes", "four_bit")


VARIANT_TITLES = {
    "base": Text(en="base model", zh="基座模型"),
    "adapter": Text(en="unmerged adapter", zh="未合并的适配器"),
    "merged": Text(en="merged", zh="已合并"),
}
PATH_TITLES = {
    "base": Text(en="base without adapter", zh="不加适配器的基座"),
    "adapter": Text(en="unmerged adapter", zh="未合并的适配器"),
    "float32": Text(en="dequantised, merged in float32", zh="反量化后在 float32 下合并"),
    "bfloat16": Text(en="dequantised, rounded to bfloat16", zh="反量化后合并并舍入到 bfloat16"),
    "original": Text(en="merged into the original weights", zh="合并进原始权重"),
    "requantise": Text(en="merged and quantised again", zh="合并后重新量化"),
    "peft": Text(en="PEFT's own merge into 4 bits", zh="PEFT 自带的 4 位合并"),
}
PATH = Text(en="way to merge", zh="合并方式")
SHAPE = Text(en="batch × tokens", zh="批大小 × 词元数")
DTYPE = Text(en="number format", zh="数值格式")


def latency_charts() -> tuple[Chart, ...]:
    return tuple(
        Chart(
            "latency",
            Text(en=f"Time of a forward pass in {dtype}", zh=f"{dtype} 下一次前向计算的用时"),
            x="shape",
            series="variant",
            kind="bar",
            x_title=SHAPE,
            series_titles=VARIANT_TITLES,
            where={"dtype": dtype},
        )
        for dtype in ("float32", "bfloat16")
    )


TRAINING_TOKENS = 3 * 32  # of one pair: about 32 tokens, forward and twice as much backward
VARIANTS = 3  # that are timed


def work(params: MergeCheckParameters) -> float:
    """Tokens that go through the model."""
    timed = sum(int(batch) * int(tokens) for batch, tokens in (shape.split("x") for shape in params.shapes))
    trained = TRAINING_TOKENS * params.steps * params.batch_size
    return trained + VARIANTS * len(params.dtypes) * params.repeats * timed


LAB = Lab(
    slug="merge-check",
    group="mechanics",
    version=1,
    title=Text(en="Merging an adapter: same outputs, same speed?", zh="合并适配器：输出是否相同，速度是否相同？"),
    question=Text(
        en="Does merging B·A into W leave the outputs as they were, can it be undone, and what does it save in time?",
        zh="把 B·A 合并进 W 之后，输出是否保持不变？能否还原？又能省下多少时间？",
    ),
    summary=Text(
        en="Trains a real adapter, then merges it in each number format and compares logits on questions that were not "
        "trained on: merged against unmerged, after unmerging against before, and, for scale, adapter against base. "
        "Then it times base, adapter and merged model in turns. A second adapter is trained on a 4-bit base and merged "
        "in every way that is in use; what is off in the weights is compared with the adapter's update.",
        zh="先训练一个真实的适配器，再在每种数值格式下合并，并在训练中未出现的问句上比较 logits：合并与未合并之间、"
        "还原之后与合并之前之间，并以适配器与基座之间的差异作为参照。再让基座、适配器和合并后的模型轮流计时。"
        "另在 4 位基座上训练一个适配器，用各种常见方式合并，把权重的偏差与适配器的更新量相比。",
    ),
    takeaway=Text(
        en="Merging is exact algebra and inexact arithmetic: W + (α/r)·B·A is rounded to the format of W. In float32 "
        "the difference is rounding noise; in bfloat16, with 8 significant bits, it is a visible share of what the "
        "adapter does, and unmerging does not bring back the old bits. So keep the base weights and the adapter "
        "file, merge a copy in high precision, and check logits before serving. What merging buys is the bypass's "
        "extra time, because the merged model is an ordinary model again. Never merge into a 4-bit base by "
        "dequantising, adding and quantising again: the update is smaller than a step of the grid, most codes stay "
        "as they were ([[claim:four-bit-merge-keeps-codes]]) and the adapter is lost "
        "([[claim:four-bit-merge-keeps-the-update]]). Dequantise, merge and keep 16 bits "
        "([[claim:dequantised-merge-keeps-loss]]).",
        zh="合并在代数上精确，在数值上并不精确：W + (α/r)·B·A 要舍入到 W 的格式。在 float32 下差异只是舍入噪声；"
        "bfloat16 只有 8 位有效数字，差异在适配器的作用中占了看得见的比例，而且还原之后也回不到原来的比特。"
        "因此要保留基座权重和适配器文件，在高精度下合并一份副本，上线之前核对 logits。"
        "合并省下的是旁路的额外时间，因为合并后的模型又成了一个普通模型。"
        "不要用“反量化、相加、再量化”的办法合并进 4 位基座：更新量小于格点间距，绝大多数编码不变"
        "（[[claim:four-bit-merge-keeps-codes]]），适配器就丢了（[[claim:four-bit-merge-keeps-the-update]]）。"
        "应当反量化后合并，并保留 16 位（[[claim:dequantised-merge-keeps-loss]]）。",
    ),
    parameters=MergeCheckParameters,
    metrics=(
        LOSS,
        Metric(
            "max_logit_difference",
            Text(en="Largest logit difference, merged against adapter", zh="合并与适配器之间 logit 差的最大值"),
            "logit",
            better="lower",
        ),
        Metric(
            "mean_logit_difference",
            Text(en="Mean logit difference, merged against adapter", zh="合并与适配器之间 logit 差的平均值"),
            "logit",
            better="lower",
        ),
        Metric(
            "adapter_effect",
            Text(en="Largest logit difference, adapter against base", zh="适配器与基座之间 logit 差的最大值"),
            "logit",
        ),
        Metric(
            "relative_logit_difference",
            Text(
                en="Largest merge difference as a share of the adapter's effect", zh="合并差异最大值占适配器作用的比例"
            ),
            "ratio",
            better="lower",
        ),
        Metric(
            "top1_agreement",
            Text(
                en="Positions where merged and adapter predict the same token",
                zh="合并与适配器预测同一词元的位置所占比例",
            ),
            "ratio",
            better="higher",
        ),
        Metric(
            "roundtrip_weight_difference",
            Text(en="Largest weight change after merging and unmerging", zh="合并再还原之后权重变化的最大值"),
            "weight",
            better="lower",
        ),
        Metric(
            "roundtrip_logit_difference",
            Text(en="Largest logit change after merging and unmerging", zh="合并再还原之后 logit 变化的最大值"),
            "logit",
            better="lower",
        ),
        Metric(
            "second_merge_change",
            Text(en="Largest weight change when merging is asked for again", zh="再次要求合并时权重变化的最大值"),
            "weight",
            better="lower",
        ),
        VALIDATION_LOSS,
        Metric(
            "loss_above_adapter",
            Text(en="Loss above that of the unmerged adapter", zh="损失比未合并的适配器高出"),
            NATS,
            better="lower",
        ),
        Metric("update_share", Text(en="Norm of the update over the weights'", zh="更新量与权重的范数之比"), "ratio"),
        Metric(
            "update_error",
            Text(en="What is off in the merged weights, over the update", zh="合并后权重的偏差与更新量之比"),
            "ratio",
            better="lower",
        ),
        Metric(
            "update_kept",
            Text(en="Share of the update that arrives in the weights", zh="更新量中真正进入权重的比例"),
            "ratio",
            better="higher",
        ),
        Metric("codes_unchanged", Text(en="4-bit codes that stay the same", zh="保持不变的 4 位编码比例"), "ratio"),
        Metric(
            "latency", Text(en="Median time of a forward pass", zh="一次前向计算用时的中位数"), "ms", better="lower"
        ),
        Metric(
            "latency_ratio",
            Text(en="Time relative to the base model", zh="相对于基座模型的用时"),
            "ratio",
            better="lower",
        ),
    ),
    charts=(
        *latency_charts(),
        Chart(
            "max_logit_difference",
            Text(en="Largest logit difference, merged against adapter", zh="合并与适配器之间 logit 差的最大值"),
            x="dtype",
            kind="bar",
            log_y=True,
            x_title=DTYPE,
        ),
        Chart(
            "validation_loss",
            Text(en="Loss after merging an adapter of an NF4 base", zh="NF4 基座的适配器合并之后的损失"),
            x="path",
            kind="bar",
            x_title=PATH,
            series_titles=PATH_TITLES,
            where={"base": "nf4"},
        ),
    ),
    guesses=(
        Guess(
            "bypass",
            "value",
            Text(
                en="In float32, how long does a pass with the unmerged adapter take, as a multiple of the base's?",
                zh="float32 下，适配器不合并时，一次前向耗时是基座的几倍？",
            ),
            "latency_ratio",
            ("dtype=float32,variant=adapter",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=150),
        "standard": Preset({"repeats": 20}, seeds=(0, 1, 2), expected_seconds=600),
        "gpu": Preset(
            {"repeats": 50, "steps": 100, "shapes": ["1x1", "1x64", "4x64", "8x64"]},
            seeds=(0, 1, 2),
            expected_seconds=180,
        ),
    },
    work=work,
)
