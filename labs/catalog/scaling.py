"""Which rule for the scaling factor keeps an update the same over ranks?"""

import math
from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import (
    DIVERGED,
    LOSS,
    NATS,
    VALIDATION_LOSS,
    Alpha,
    BatchSize,
    LanguageModel,
    Steps,
    TargetModules,
    different,
)

Rule = Literal["alpha-over-r", "alpha-over-root-r", "constant"]


class ScalingParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    rules: list[Rule] = parameter(
        ["alpha-over-r", "alpha-over-root-r", "constant"],
        Text(en="Scaling rules", zh="缩放规则"),
        Text(
            en="What BA is multiplied by: α/r (LoRA), α/√r (rsLoRA), or the same factor for every rank. All three are "
            "equal at the reference rank.",
            zh="BA 乘以什么：α/r（LoRA）、α/√r（rsLoRA），或对所有秩都相同的系数。在参考秩处三者相等。",
        ),
        min_length=1,
        max_length=3,
    )
    ranks: list[Annotated[int, Field(ge=1, le=256)]] = parameter(
        [1, 32],
        Text(en="Ranks", zh="秩"),
        Text(en="Every rank to train adapters with.", zh="要训练的各个秩。"),
        min_length=1,
        max_length=12,
    )
    reference_rank: Annotated[int, Field(ge=1, le=256)] = parameter(
        8,
        Text(en="Reference rank", zh="参考秩"),
        Text(en="Where all rules give the same factor.", zh="各规则在此秩处给出相同的系数。"),
    )
    alpha: Alpha = explained(
        16,
        Text(
            en="The α of the rule α/r; the other rules follow from the reference rank.",
            zh="规则 α/r 的 α；其余规则由参考秩推出。",
        ),
    )
    learning_rates: list[Annotated[float, Field(gt=0, le=0.1)]] = parameter(
        [3e-4, 3e-3],
        Text(en="Learning rates", zh="学习率"),
        Text(
            en="The grid on which each rank and rule finds its best; the lowest is also where norms are compared.",
            zh="每个秩与规则在此网格上寻找最优值；范数在最小的一个处比较。",
        ),
        min_length=1,
        max_length=8,
    )
    steps: Steps = 24
    batch_size: BatchSize = 4
    target_modules: TargetModules = "all-linear"

    _are_different = different("rules", "ranks", "learning_rates")


def factor(params: ScalingParameters, rank: int, rule: Rule) -> float:
    """What BA is multiplied by."""
    ratio = params.reference_rank / rank
    powers = {"alpha-over-r": ratio, "alpha-over-root-r": math.sqrt(ratio), "constant": 1.0}
    return params.alpha / params.reference_rank * powers[rule]


def configurations(params: ScalingParameters) -> list[tuple[int, list[Rule]]]:
    """Rank and the rules that are trained together: at the reference rank they are one."""
    found: list[tuple[int, list[Rule]]] = []
    for rank in params.ranks:
        found += [(rank, params.rules)] if rank == params.reference_rank else [(rank, [rule]) for rule in params.rules]
    return found


RULES = {
    "alpha-over-r": Text(en="α/r (LoRA)", zh="α/r（LoRA）"),
    "alpha-over-root-r": Text(en="α/√r (rsLoRA)", zh="α/√r（rsLoRA）"),
    "constant": Text(en="same factor", zh="固定系数"),
}
RANK = Text(en="rank r", zh="秩 r")
RATE = Text(en="learning rate", zh="学习率")

LAB = Lab(
    slug="scaling",
    group="mechanics",
    version=1,
    title=Text(en="Three rules for the scaling factor", zh="缩放系数的三种规则"),
    question=Text(
        en="Which factor before BA keeps an update and its learning the same over ranks: α/r, α/√r, or one that does "
        "not depend on r?",
        zh="BA 前的系数取 α/r、α/√r，还是与 r 无关的常数，才能让更新及其学习速度不随秩变化？",
    ),
    summary=Text(
        en="Trains an adapter per rank, rule and learning rate on the same data in the same order, without clipping, "
        "and takes the gradient of B in the first step, the norm of the update after the last one, the loss on "
        "held-out phrasings and the best rate of the grid. All rules give the same factor at the reference rank.",
        zh="对每个秩、规则和学习率，用同样的数据和顺序各训练一个适配器（不裁剪梯度），"
        "记录第一步 B 的梯度、最后一步之后更新的范数、换一种问法时的损失，以及网格中最好的学习率。"
        "在参考秩处各规则的系数相同。",
    ),
    takeaway=Text(
        en="Say first what is to stay the same, then name the rule. A sum of r random directions grows as √r, so α/√r "
        "keeps the first gradient ([[claim:measured-gradient-growth-rslora]]) and the norm of the update "
        "([[claim:measured-update-growth-rslora]]), while α/r shrinks the gradient "
        "([[claim:measured-gradient-growth-lora]]). But under Adam each of the r terms moves at full speed, and their "
        "gains add up, so a stable norm is not yet stable learning: at one learning rate the losses of all ranks "
        "spread by [[claim:measured-loss-spread-scaling]] with α/√r and by "
        "[[claim:measured-loss-spread-alpha-over-r]] with α/r. With α = 2r the best rate moves by "
        "[[claim:measured-best-rate-constant-factor]] from the smallest rank to the largest: tune it again.",
        zh="先说清要保持什么不变，再说用哪条规则。r 个随机方向之和按 √r 增长，所以 α/√r 使最初的梯度"
        "（[[claim:measured-gradient-growth-rslora]]）和更新的范数（[[claim:measured-update-growth-rslora]]）"
        "保持不变，而 α/r 让梯度变小（[[claim:measured-gradient-growth-lora]]）。但在 Adam 下 r 项各自全速移动，"
        "收益相加，所以范数稳定不等于学习稳定：同一个学习率下，各秩的损失在 α/√r 时相差 "
        "[[claim:measured-loss-spread-scaling]]，在 α/r 时相差 [[claim:measured-loss-spread-alpha-over-r]]。"
        "取 α = 2r 时，从最小秩到最大秩，最好的学习率会移动 [[claim:measured-best-rate-constant-factor]]，需要重新调。",
    ),
    parameters=ScalingParameters,
    metrics=(
        Metric("factor", Text(en="Scaling factor", zh="缩放系数"), "×", stochastic=False),
        Metric("update_norm", Text(en="Norm of the update, all layers together", zh="更新的范数（所有层合计）"), ""),
        Metric(
            "small_rate_update_norm",
            Text(en="Norm of the update at the lowest learning rate", zh="最小学习率下更新的范数"),
            "",
        ),
        Metric("start_gradient_norm", Text(en="Gradient norm in the first step", zh="第一步的梯度范数"), ""),
        Metric("first_gradient_norm", Text(en="Gradient norm of B in the first step", zh="第一步 B 的梯度范数"), ""),
        VALIDATION_LOSS,
        LOSS,
        DIVERGED,
        Metric("best_rate", Text(en="Best learning rate of the grid", zh="网格中最好的学习率"), ""),
        Metric(
            "best_loss",
            Text(en="Loss on held-out phrasings at the best rate", zh="最好学习率下换一种问法时的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "gradient_growth",
            Text(en="First gradient at the largest rank over that at the smallest", zh="最大秩与最小秩的首步梯度之比"),
            "×",
        ),
        Metric(
            "update_growth",
            Text(
                en="Norm of the update at the largest rank over that at the smallest, at the lowest rate",
                zh="最小学习率下，最大秩与最小秩的更新范数之比",
            ),
            "×",
        ),
        Metric(
            "best_rate_shift",
            Text(en="Best rate at the smallest rank over that at the largest", zh="最小秩与最大秩的最好学习率之比"),
            "×",
        ),
        Metric(
            "loss_spread",
            Text(en="Highest minus lowest loss over the ranks, at one rate", zh="同一学习率下各秩损失的最大差"),
            NATS,
        ),
        Metric(
            "best_loss_spread",
            Text(
                en="Highest minus lowest loss over the ranks, each at its best rate", zh="各自最好学习率下损失的最大差"
            ),
            NATS,
        ),
    ),
    charts=(
        Chart(
            "small_rate_update_norm",
            Text(en="Norm of the update against rank, at the lowest rate", zh="最小学习率下更新的范数随秩的变化"),
            x="rank",
            series="rule",
            log_x=True,
            log_y=True,
            x_title=RANK,
            series_titles=RULES,
        ),
        Chart(
            "first_gradient_norm",
            Text(en="First gradient of B against rank", zh="第一步 B 的梯度随秩的变化"),
            x="rank",
            series="rule",
            log_x=True,
            log_y=True,
            x_title=RANK,
            series_titles=RULES,
        ),
        Chart(
            "best_rate",
            Text(en="Best learning rate against rank", zh="最好的学习率随秩的变化"),
            x="rank",
            series="rule",
            log_x=True,
            log_y=True,
            x_title=RANK,
            series_titles=RULES,
        ),
        Chart(
            "loss_spread",
            Text(en="How far the ranks are apart at one learning rate", zh="同一学习率下各秩损失相差多少"),
            x="rate",
            series="rule",
            log_x=True,
            x_title=RATE,
            series_titles=RULES,
        ),
        Chart(
            "best_loss",
            Text(en="Loss at the best learning rate against rank", zh="最好学习率下的损失随秩的变化"),
            x="rank",
            series="rule",
            log_x=True,
            x_title=RANK,
            series_titles=RULES,
        ),
    ),
    guesses=(
        Guess(
            "gradient",
            "order",
            Text(
                en="From the smallest rank to the largest, how much does the gradient of the first step grow? Order "
                "the factors from the least growth (1) to the most (3).",
                zh="从最小的秩到最大的秩，首步的梯度增长多少？按增长从少（1）到多（3）给各种系数排序。",
            ),
            "gradient_growth",
            (
                "rule=alpha-over-r",
                "rule=alpha-over-root-r",
                "rule=constant",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=125),
        "standard": Preset(
            {"ranks": [1, 8, 64], "learning_rates": [3e-4, 1e-3, 3e-3, 1e-2]},
            seeds=(0, 1, 2, 3, 4),
            expected_seconds=900,
        ),
        "gpu": Preset(
            {
                "ranks": [1, 2, 4, 8, 16, 32, 64, 128, 256],
                "learning_rates": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
                "steps": 100,
                "batch_size": 8,
            },
            seeds=(0, 1, 2),
            expected_seconds=1200,
        ),
    },
    work=lambda params: len(configurations(params)) * len(params.learning_rates) * params.steps * params.batch_size,
)
