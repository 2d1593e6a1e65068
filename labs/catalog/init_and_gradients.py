"""What do the starting values of A and B decide?"""

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
    TargetModules,
    different,
)

Start = Literal["kaiming", "gaussian", "a-zero", "both-zero", "both-random"]


class InitAndGradientsParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    starts: list[Start] = parameter(
        ["kaiming", "a-zero", "both-zero", "both-random"],
        Text(en="Starts", zh="初始化方式"),
        Text(
            en="kaiming: A random, B zero (PEFT's default). gaussian: the same with a normal law. a-zero: A zero, B "
            "random. both-zero, both-random: as they say.",
            zh="kaiming：A 随机、B 为零（PEFT 默认）。gaussian：同上，改用正态分布。a-zero：A 为零、B 随机。"
            "both-zero、both-random：两者都为零、都随机。",
        ),
        min_length=1,
        max_length=5,
    )
    rank: Rank = 8
    alpha: Alpha = 16
    target_modules: TargetModules = "all-linear"
    steps: Annotated[int, Field(ge=2, le=2000)] = parameter(
        20,
        Text(en="Training steps", zh="训练步数"),
        Text(en="The gradients of the first two are what the question is about.", zh="问题的关键在前两步的梯度。"),
    )
    batch_size: BatchSize = 8
    learning_rate: LearningRate = explained(
        1e-3, Text(en="Of AdamW, constant, the same for every start.", zh="AdamW 的学习率，保持不变，各种初始化相同。")
    )

    _are_different = different("starts", noun="start")


STARTS = {
    "kaiming": Text(en="A random, B zero", zh="A 随机、B 为零"),
    "gaussian": Text(en="A normal, B zero", zh="A 正态、B 为零"),
    "a-zero": Text(en="A zero, B random", zh="A 为零、B 随机"),
    "both-zero": Text(en="both zero", zh="都为零"),
    "both-random": Text(en="both random", zh="都随机"),
}
START = Text(en="start", zh="初始化方式")

LAB = Lab(
    slug="init-and-gradients",
    group="mechanics",
    version=1,
    title=Text(en="Starting values and first gradients", zh="初始值与最初的梯度"),
    question=Text(
        en="Why does exactly one of A and B start at zero, and which of them gets a gradient in the first step?",
        zh="为什么 A、B 中恰好有一个从零开始？第一步里谁有梯度？",
    ),
    summary=Text(
        en="Puts an adapter with each start into the same model, compares the logits with those of the base before "
        "any step, then trains and records the norms of the gradients of all A and all B at every step, without "
        "clipping, and the loss on held-out phrasings at the end.",
        zh="把每种初始化的适配器装进同一个模型，先在训练之前与基座比较 logits，然后训练，"
        "逐步记录全部 A 与全部 B 的梯度范数（不裁剪），最后看换一种问法时的损失。",
    ),
    takeaway=Text(
        en="The gradients are ∇B = s·G·Aᵀ and ∇A = s·Bᵀ·G for the gradient G of the whole weight. With B = 0 the model "
        "starts as the base, exactly ([[claim:measured-start-equals-base]]); ∇A is zero in the first step "
        "([[claim:measured-first-gradient-of-a]]), ∇B is not, and from the second step on both move "
        "([[claim:measured-second-gradient-of-a]]). A = 0 works too, with the roles swapped. Both zero never "
        "moves at all ([[claim:measured-both-zero]]), and both random starts from another model "
        "([[claim:measured-both-random]]).",
        zh="设整个权重的梯度为 G，则 ∇B = s·G·Aᵀ，∇A = s·Bᵀ·G。B = 0 时模型一开始就严格等于基座"
        "（[[claim:measured-start-equals-base]]）；第一步 ∇A 为零（[[claim:measured-first-gradient-of-a]]），"
        "∇B 不为零，从第二步起两者都动（[[claim:measured-second-gradient-of-a]]）。"
        "A = 0 也行，只是角色对调。都为零则永远不动（[[claim:measured-both-zero]]），"
        "都随机则起点已是另一个模型（[[claim:measured-both-random]]）。",
    ),
    parameters=InitAndGradientsParameters,
    metrics=(
        Metric(
            "initial_logit_difference",
            Text(en="Largest logit difference to the base before training", zh="训练前与基座 logit 差的最大值"),
            "logit",
        ),
        Metric("gradient_a", Text(en="Gradient norm of all A", zh="全部 A 的梯度范数"), ""),
        Metric("gradient_b", Text(en="Gradient norm of all B", zh="全部 B 的梯度范数"), ""),
        Metric("first_gradient_a", Text(en="Gradient norm of A in the first step", zh="第一步 A 的梯度范数"), ""),
        Metric("first_gradient_b", Text(en="Gradient norm of B in the first step", zh="第一步 B 的梯度范数"), ""),
        Metric("second_gradient_a", Text(en="Gradient norm of A in the second step", zh="第二步 A 的梯度范数"), ""),
        Metric("second_gradient_b", Text(en="Gradient norm of B in the second step", zh="第二步 B 的梯度范数"), ""),
        LOSS,
        VALIDATION_LOSS,
        Metric(
            "validation_loss_drop",
            Text(en="Loss won over the base", zh="比基座降低的损失"),
            NATS,
            better="higher",
        ),
    ),
    charts=(
        Chart(
            "validation_loss",
            Text(en="Loss on held-out phrasings after training", zh="训练之后换一种问法时的损失"),
            x="start",
            kind="bar",
            x_title=START,
            x_titles=STARTS,
        ),
        Chart(
            "first_gradient_a",
            Text(en="Gradient norm of A in the first step", zh="第一步 A 的梯度范数"),
            x="start",
            kind="bar",
            x_title=START,
            x_titles=STARTS,
        ),
        Chart(
            "first_gradient_b",
            Text(en="Gradient norm of B in the first step", zh="第一步 B 的梯度范数"),
            x="start",
            kind="bar",
            x_title=START,
            x_titles=STARTS,
        ),
    ),
    guesses=(
        Guess(
            "zero-gradient",
            "which",
            Text(
                en="Where is the gradient of A exactly zero in the first step?",
                zh="第一步里，哪些初始化方式下 A 的梯度恰好为零？",
            ),
            "first_gradient_a",
            ("start=kaiming", "start=a-zero", "start=both-zero", "start=both-random"),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=80),
        "standard": Preset(
            {"starts": ["kaiming", "gaussian", "a-zero", "both-zero", "both-random"]},
            seeds=(0, 1, 2),
            expected_seconds=420,
        ),
        "gpu": Preset(
            {"starts": ["kaiming", "gaussian", "a-zero", "both-zero", "both-random"], "steps": 200},
            seeds=(0, 1, 2),
            expected_seconds=300,
        ),
    },
    work=lambda params: len(params.starts) * params.steps * params.batch_size,
)
