"""What does a 4-bit base change for training: loss, memory, time, gradient?"""

from typing import Annotated, Literal

from pydantic import Field, field_validator

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

Method = Literal["lora-float32", "lora-bfloat16", "qlora", "qlora-bfloat16"]


class QloraTrainParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    methods: list[Method] = parameter(
        ["lora-float32", "lora-bfloat16", "qlora"],
        Text(en="Methods", zh="方法"),
        Text(
            en="lora-…: the base in that format. qlora: the base in NF4 with double quantisation, computing in "
            "float32; qlora-bfloat16: computing in bfloat16. All are compared with lora-float32.",
            zh="lora-…：基座用该格式。qlora：基座为 NF4 加双重量化，用 float32 计算；qlora-bfloat16：用 bfloat16 计算。"
            "都与 lora-float32 比较。",
        ),
        min_length=1,
        max_length=4,
    )
    rank: Rank = 8
    alpha: Alpha = 16
    target_modules: TargetModules = "all-linear"
    steps: Steps = explained(
        20,
        Text(
            en="Optimiser steps, the same data in the same order for all methods.",
            zh="优化步数；各方法数据及顺序相同。",
        ),
    )
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 1e-3
    repeats: Annotated[int, Field(ge=3, le=100)] = parameter(
        5,
        Text(en="Timed steps", zh="计时步数"),
        Text(
            en="Steps timed for each method; the methods take turns, and the median counts.",
            zh="每种方法计时的步数；各方法轮流执行，取中位数。",
        ),
    )

    _are_different = different("methods", noun="method")

    @field_validator("methods")
    @classmethod
    def _have_the_reference(cls, values: list[Method]) -> list[Method]:
        if "lora-float32" not in values:
            raise ValueError("lora-float32 is needed: the others are compared with it")
        return values


METHODS = {
    "lora-float32": Text(en="LoRA, 32-bit", zh="LoRA，32 位"),
    "lora-bfloat16": Text(en="LoRA, bfloat16", zh="LoRA，bfloat16"),
    "qlora": Text(en="QLoRA, 32-bit", zh="QLoRA，32 位计算"),
    "qlora-bfloat16": Text(en="QLoRA, bfloat16", zh="QLoRA，bfloat16"),
}
KINDS = {
    "base": Text(en="base weights", zh="基座权重"),
    "adapter": Text(en="adapter, its gradient and Adam's states", zh="适配器及其梯度与 Adam 状态"),
    "activations": Text(en="kept for the backward pass", zh="为反向传播保留"),
    "copy": Text(en="largest dequantised copy", zh="最大的反量化副本"),
}
METHOD = Text(en="method", zh="方法")

LAB = Lab(
    slug="qlora-train",
    group="quantisation",
    version=1,
    title=Text(en="Training on a 4-bit base", zh="在 4 位基座上训练"),
    question=Text(
        en="What does QLoRA change against LoRA on a 32-bit or 16-bit base: the loss that is reached, the bytes that "
        "training holds, the time of a step? And how does a gradient get through a weight that is only codes?",
        zh="与 32 位或 16 位基座上的 LoRA 相比，QLoRA 改变了什么：达到的损失、训练占用的字节数、每步的时间？"
        "梯度又如何穿过只存编码的权重？",
    ),
    summary=Text(
        en="Trains the same adapter on the same facts in the same order on each base, and compares losses seed by "
        "seed. Memory is counted from tensors: what is stored, what one step keeps for its backward pass, and the "
        "copy that a 4-bit layer dequantises for a product. Gradients are compared with those through ordinary layers "
        "that hold the dequantised weights. SmolLM2's weights were 4-bit once, which is no harm to a comparison of "
        "trainings.",
        zh="在每种基座上用相同的事实、相同的顺序训练同样的适配器，按种子逐一比较损失。内存按张量统计："
        "存下的、一步为反向传播保留的，以及 4 位层为一次乘法反量化出的副本。"
        "梯度与“普通层存反量化权重”时的梯度比较。SmolLM2 的权重曾经是 4 位的，对比较训练没有妨碍。",
    ),
    takeaway=Text(
        en="QLoRA stores the frozen base in four bits and dequantises a layer's weight whenever it is multiplied, in "
        "the forward pass and again in the backward pass; the codes get no gradient "
        "([[claim:qlora-base-has-no-gradient]]), and what passes through them is the gradient of the dequantised "
        "weight ([[claim:qlora-gradient-is-that-of-the-copy]]). The adapter learns around the error of the base "
        "([[claim:qlora-loss-within-a-tenth]]). Only the base shrinks: adapter, its optimiser states and activations "
        "stay, so the saving depends on how large the base is among them "
        "([[claim:qlora-halves-counted-memory]]). The price is time ([[claim:qlora-step-is-slower]]).",
        zh="QLoRA 用四个比特存放冻结的基座，每次做乘法时把该层权重反量化，前向一次、反向再一次；"
        "编码本身没有梯度（[[claim:qlora-base-has-no-gradient]]），穿过它的是对反量化权重的梯度"
        "（[[claim:qlora-gradient-is-that-of-the-copy]]）。适配器会学着适应基座的误差"
        "（[[claim:qlora-loss-within-a-tenth]]）。变小的只有基座：适配器、优化器状态和激活值都不变，"
        "所以省多少取决于基座占多大（[[claim:qlora-halves-counted-memory]]）。代价是时间"
        "（[[claim:qlora-step-is-slower]]）。",
    ),
    parameters=QloraTrainParameters,
    metrics=(
        LOSS,
        Metric(
            "base_loss",
            Text(en="Loss on held-out phrasings before training", zh="训练之前换一种问法时的损失"),
            NATS,
            stochastic=False,
            better="lower",
        ),
        VALIDATION_LOSS,
        Metric(
            "validation_loss_above",
            Text(en="Loss above that of LoRA on a 32-bit base", zh="损失比 32 位基座的 LoRA 高出"),
            NATS,
            better="lower",
        ),
        Metric("diverged", Text(en="Training diverged", zh="训练发散"), "1 if so", better="lower"),
        Metric(
            "gradient_cosine",
            Text(en="Cosine of the first gradient with that of LoRA on a 32-bit base", zh="首个梯度与 32 位基座的余弦"),
            "cosine",
            better="higher",
        ),
        Metric(
            "gradient_error",
            Text(
                en="Relative difference from the gradient through the dequantised weights",
                zh="与穿过反量化权重的梯度的相对差",
            ),
            "ratio",
            better="lower",
        ),
        Metric(
            "base_gradients",
            Text(en="Base weights that got a gradient", zh="得到梯度的基座权重个数"),
            "tensors",
            stochastic=False,
        ),
        Metric("bytes", Text(en="Memory", zh="内存"), "MB", stochastic=False, better="lower"),
        Metric(
            "training_bytes",
            Text(en="Memory of training, together", zh="训练内存合计"),
            "MB",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "memory_share",
            Text(en="Memory as a share of LoRA's on a 32-bit base", zh="内存占 32 位基座 LoRA 的比例"),
            "ratio",
            stochastic=False,
            better="lower",
        ),
        Metric("step_time", Text(en="Median time of a step", zh="一步用时的中位数"), "ms", better="lower"),
        Metric(
            "step_time_ratio",
            Text(en="Time relative to LoRA on a 32-bit base", zh="相对于 32 位基座 LoRA 的用时"),
            "ratio",
            better="lower",
        ),
    ),
    charts=(
        Chart(
            "bytes",
            Text(en="What training holds in memory", zh="训练占用的内存"),
            x="method",
            series="kind",
            kind="bar",
            x_title=METHOD,
            x_titles=METHODS,
            series_titles=KINDS,
        ),
        Chart(
            "validation_loss",
            Text(en="Loss on held-out phrasings", zh="换一种问法时的损失"),
            x="method",
            kind="bar",
            x_title=METHOD,
            x_titles=METHODS,
        ),
        Chart(
            "step_time_ratio",
            Text(en="Time of a step relative to LoRA on a 32-bit base", zh="一步用时（相对于 32 位基座的 LoRA）"),
            x="method",
            kind="bar",
            x_title=METHOD,
            x_titles=METHODS,
        ),
    ),
    guesses=(
        Guess(
            "memory",
            "value",
            Text(
                en="How much of the memory of LoRA on a 32-bit base does QLoRA's training state take?",
                zh="QLoRA 训练时占用的内存，是 32 位基座上 LoRA 的多少倍？",
            ),
            "memory_share",
            ("method=qlora,part=memory",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=100),
        "standard": Preset(
            {"methods": ["lora-float32", "lora-bfloat16", "qlora", "qlora-bfloat16"], "steps": 40, "repeats": 10},
            seeds=(0, 1, 2),
            expected_seconds=840,
        ),
        "gpu": Preset(
            {
                "methods": ["lora-float32", "lora-bfloat16", "qlora", "qlora-bfloat16"],
                "steps": 200,
                "batch_size": 32,
                "repeats": 30,
            },
            seeds=(0, 1, 2),
            expected_seconds=600,
        ),
    },
)
