"""Does a larger LoRA rank learn better, or does it only look so because of the scaling rule?"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.points import point_key
from labs.shared import LOSS, NATS, Alpha, BatchSize, LanguageModel, LearningRate, Steps, TargetModules, different

Scaling = Literal["constant", "double"]

SCALING_TITLES = {
    "constant": Text(en="α fixed", zh="α 固定"),
    "double": Text(en="α = 2r", zh="α = 2r"),
}


class RankSweepParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    ranks: list[Annotated[int, Field(ge=1, le=256)]] = parameter(
        [1, 64],
        Text(en="Ranks", zh="秩"),
        Text(en="Every rank r to train an adapter with, each once.", zh="要训练的各个秩 r，不可重复。"),
        min_length=1,
        max_length=12,
    )
    scalings: list[Scaling] = parameter(
        ["constant", "double"],
        Text(en="Scaling rules", zh="缩放规则"),
        Text(
            en="constant keeps α as it is for every rank, so the factor α/r shrinks as r grows; "
            "double sets α = 2r, so the factor is always 2.",
            zh="constant：α 不随秩变化，因此系数 α/r 随 r 增大而减小；double：α = 2r，系数恒为 2。",
        ),
        min_length=1,
        max_length=2,
    )
    alpha: Alpha = explained(16, Text(en="The α of the rule constant.", zh="规则 constant 所用的 α。"))
    steps: Steps = explained(
        24,
        Text(
            en="Optimiser steps for every adapter. With 24 steps of 8 every training question is seen once.",
            zh="每个适配器的优化步数。24 步、批大小为 8 时，每个训练问题恰好出现一次。",
        ),
    )
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 1e-3
    target_modules: TargetModules = "all-linear"

    _are_different = different("ranks", "scalings")


def configurations(params: RankSweepParameters) -> dict[tuple[int, int], list[Scaling]]:
    """(rank, alpha) → the scaling rules that ask for it. Where both ask for the same, it is trained once."""
    found: dict[tuple[int, int], list[Scaling]] = {}
    for rank in params.ranks:
        for scaling in params.scalings:
            alpha = params.alpha if scaling == "constant" else 2 * rank
            found.setdefault((rank, alpha), []).append(scaling)
    return found


def points(params: RankSweepParameters, seeds: Sequence[int]) -> list[tuple[str, int]]:
    """One for each training: the first of those that are the same."""
    found = configurations(params)
    return [(point_key(rank=rank, scaling=rules[0]), seed) for seed in seeds for (rank, _), rules in found.items()]


RANK = Text(en="rank r", zh="秩 r")

LAB = Lab(
    slug="rank-sweep",
    group="mechanics",
    version=1,
    title=Text(en="Rank sweep under two scaling rules", zh="两种缩放规则下的秩扫描"),
    question=Text(
        en="Does a larger LoRA rank learn better, or does it only look so because α grows with it?",
        zh="LoRA 的秩越大就学得越好吗？还是只因为 α 跟着变大才显得如此？",
    ),
    summary=Text(
        en="Trains one LoRA adapter per rank, scaling rule and seed on invented facts, and asks for the same facts in "
        "a phrasing that was never trained on. The facts exist nowhere else, so the model can only know them from the "
        "training; facts that were never shown tell how much of the gain is merely the format of the answers.",
        zh="在一组虚构的事实上，为每个秩、缩放规则和随机种子各训练一个 LoRA 适配器，"
        "再用训练中从未出现过的问法考同样的事实。这些事实别处并不存在，模型只能从训练中学到；"
        "从未给出的事实则说明，有多少收益只是学会了答案的格式。",
    ),
    takeaway=Text(
        en="When someone says that a larger rank learned faster, ask what α was. The update is scaled by α/r, so at a "
        "fixed learning rate a rule such as α = 2r changes the effective step along with the rank: with it the ranks "
        "spread widely ([[claim:alpha-proportional-no-retuning]]), with one α for all they end close together "
        "([[claim:rank-flat-constant-alpha]]). So the curve that seems to say that rank matters "
        "([[claim:rank-matters]]) is made by the rule. Compare ranks only after tuning the learning rate for each; "
        "rank is capacity, and capacity shows once the data needs it.",
        zh="有人说秩越大学得越快时，先问 α 是多少。更新量要乘以 α/r，所以在学习率固定时，像 α = 2r "
        "这样的规则会让有效步长随秩一起变化：用它时各个秩相差很大（[[claim:alpha-proportional-no-retuning]]），"
        "所有秩用同一个 α 时结果相近（[[claim:rank-flat-constant-alpha]]）。"
        "所以看起来“秩很重要”的曲线（[[claim:rank-matters]]）是规则造成的。"
        "应当先为每个秩各自调好学习率再作比较；秩代表容量，只有数据真正需要时，容量的差别才显现出来。",
    ),
    parameters=RankSweepParameters,
    metrics=(
        Metric(
            "validation_loss",
            Text(en="Validation loss (trained facts, held-out phrasing)", zh="验证损失（训练过的事实，未见过的问法）"),
            NATS,
            better="lower",
        ),
        Metric(
            "unseen_loss",
            Text(en="Loss on facts never shown", zh="从未给出的事实上的损失"),
            NATS,
            better="lower",
        ),
        LOSS,
        Metric(
            "trainable_parameters",
            Text(en="Trainable parameters", zh="可训练参数量"),
            "parameters",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "adapter_bytes",
            Text(en="Size of the adapter file", zh="适配器文件大小"),
            "bytes",
            stochastic=False,
            better="lower",
        ),
        Metric("seconds_per_step", Text(en="Median time of a step", zh="每步用时的中位数"), "s", better="lower"),
        Metric(
            "base_validation_loss",
            Text(en="Validation loss of the base model", zh="基座模型的验证损失"),
            NATS,
            stochastic=False,
            better="lower",
        ),
        Metric(
            "validation_loss_drop",
            Text(en="Validation loss at the smallest rank minus at the largest", zh="最小秩与最大秩的验证损失之差"),
            NATS,
        ),
        Metric(
            "validation_loss_spread",
            Text(en="Highest minus lowest validation loss over the ranks", zh="各秩验证损失的最大值减最小值"),
            NATS,
        ),
    ),
    charts=(
        Chart(
            "validation_loss",
            Text(en="Validation loss against rank", zh="验证损失随秩的变化"),
            x="rank",
            series="scaling",
            log_x=True,
            x_title=RANK,
            series_titles=SCALING_TITLES,
        ),
        Chart(
            "unseen_loss",
            Text(en="Loss on facts never shown, against rank", zh="从未给出的事实上的损失随秩的变化"),
            x="rank",
            series="scaling",
            log_x=True,
            x_title=RANK,
            series_titles=SCALING_TITLES,
        ),
        Chart(
            "trainable_parameters",
            Text(en="Trainable parameters against rank", zh="可训练参数量随秩的变化"),
            x="rank",
            series="scaling",
            log_x=True,
            log_y=True,
            x_title=RANK,
            series_titles=SCALING_TITLES,
        ),
        Chart(
            "seconds_per_step",
            Text(en="Time of a step against rank", zh="每步用时随秩的变化"),
            x="rank",
            series="scaling",
            log_x=True,
            x_title=RANK,
            series_titles=SCALING_TITLES,
        ),
    ),
    guesses=(
        Guess(
            "order",
            "order",
            Text(
                en="Order the four settings by validation loss, from the smallest (1) to the largest (4).",
                zh="按验证损失从小（1）到大（4）给这四种设置排序。",
            ),
            "validation_loss",
            ("rank=1,scaling=constant", "rank=64,scaling=constant", "rank=1,scaling=double", "rank=64,scaling=double"),
        ),
        Guess(
            "parameters",
            "value",
            Text(
                en="How many parameters are trained at rank 64 on all linear layers of SmolLM2-135M?",
                zh="SmolLM2-135M 的所有线性层都加秩 64 的 LoRA，要训练多少参数？",
            ),
            "trainable_parameters",
            ("rank=64,scaling=double",),
        ),
    ),
    presets={
        "quick": Preset({"ranks": [1, 64]}, seeds=(0,), expected_seconds=95),
        "standard": Preset({"ranks": [1, 2, 4, 8, 16, 32, 64]}, seeds=(0, 1, 2), expected_seconds=1440),
        "gpu": Preset(
            {"ranks": [1, 2, 4, 8, 16, 32, 64, 128, 256], "steps": 200}, seeds=(0, 1, 2, 3, 4), expected_seconds=900
        ),
    },
    points=points,
    work=lambda params: len(params.ranks) * len(params.scalings) * params.steps * params.batch_size,
)
