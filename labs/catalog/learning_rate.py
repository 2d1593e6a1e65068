"""How much larger is LoRA's best learning rate than that of full fine-tuning, and does B want another than A?"""

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
    Rank,
    Steps,
    TargetModules,
    different,
)

Ratio = Literal[2, 4, 8, 16, 32]
Rate = Annotated[float, Field(gt=0, le=0.1)]


class LearningRateParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    rates: list[Rate] = parameter(
        [3e-4, 3e-3, 1e-2],
        Text(en="Learning rates of LoRA", zh="LoRA 的学习率"),
        Text(en="Of A, and with ratio 1 of B too.", zh="A 的学习率；比值为 1 时也是 B 的。"),
        min_length=1,
        max_length=8,
    )
    full_rates: list[Rate] = parameter(
        [3e-5, 3e-4, 1e-3],
        Text(en="Learning rates of full fine-tuning", zh="全量微调的学习率"),
        Text(en="Of all weights.", zh="用于全部权重。"),
        min_length=1,
        max_length=8,
    )
    ratios: list[Ratio] = parameter(
        [16],
        Text(en="LoRA+ ratios", zh="LoRA+ 比值"),
        Text(
            en="B's learning rate over A's. Plain LoRA, with ratio 1, is always trained.",
            zh="B 与 A 的学习率之比。比值为 1 的普通 LoRA 总会训练。",
        ),
        max_length=5,
    )
    rank: Rank = 8
    alpha: Alpha = 16
    target_modules: TargetModules = "all-linear"
    steps: Steps = explained(24, Text(en="For each training, whichever method.", zh="每次训练的步数，各方法相同。"))
    batch_size: BatchSize = 4

    _are_different = different("rates", "full_rates", "ratios")


def adapter_methods(params: LearningRateParameters) -> dict[str, float]:
    """The methods that train an adapter, with the ratio of B's rate to A's."""
    return {"lora": 1.0, **{f"lora-plus-{ratio}": float(ratio) for ratio in params.ratios}}


METHODS = {
    "full": Text(en="full fine-tuning", zh="全量微调"),
    "lora": Text(en="LoRA", zh="LoRA"),
    **{
        f"lora-plus-{ratio}": Text(en=f"LoRA+, ratio {ratio}", zh=f"LoRA+，比值 {ratio}") for ratio in (2, 4, 8, 16, 32)
    },
}
RATE = Text(en="learning rate (of A)", zh="学习率（A 的）")
METHOD = Text(en="method", zh="方法")


def work(params: LearningRateParameters) -> int:
    """A step of full fine-tuning takes about twice as long as one of an adapter."""
    trainings = len(adapter_methods(params)) * len(params.rates) + 2 * len(params.full_rates)
    return trainings * params.steps * params.batch_size


LAB = Lab(
    slug="learning-rate",
    group="mechanics",
    version=1,
    title=Text(en="Learning rates of LoRA and full fine-tuning", zh="LoRA 与全量微调的学习率"),
    question=Text(
        en="How much larger is the best learning rate of LoRA than that of full fine-tuning, and does it help to give "
        "B a larger one than A?",
        zh="LoRA 的最好学习率比全量微调大多少？让 B 的学习率大于 A 有没有用？",
    ),
    summary=Text(
        en="Trains LoRA, LoRA+ and all weights on the same data in the same order, each on its own grid of rates, and "
        "compares the losses on held-out phrasings. The optimum is the vertex of the parabola through the best rate "
        "and its neighbours, on a logarithmic scale; a training that diverges is reported as such.",
        zh="用同样的数据和顺序训练 LoRA、LoRA+ 与全部权重，各自扫一组学习率，比较换一种问法时的损失。"
        "最优值取最好的学习率与左右相邻点在对数坐标上所成抛物线的顶点；训练发散会如实标出。",
    ),
    takeaway=Text(
        en="Never carry a learning rate over from full fine-tuning. LoRA's optimum is about ten times higher "
        "([[claim:lora-learning-rate-ten-times]]); this lab finds [[claim:measured-lora-rate-ratio]], and giving LoRA "
        "the best rate of full fine-tuning costs [[claim:measured-borrowed-rate]]. LoRA+ gives B a larger rate than A; "
        "against plain LoRA at its own best rate the ratio sixteen gains [[claim:measured-loraplus-gain]] here: "
        "a comparison at one shared rate would mostly measure that B simply got more of it.",
        zh="不要照搬全量微调的学习率。LoRA 的最优值约为其十倍（[[claim:lora-learning-rate-ten-times]]）；"
        "本实验得到 [[claim:measured-lora-rate-ratio]]，而让 LoRA 使用全量微调的最好学习率要付出 "
        "[[claim:measured-borrowed-rate]]。LoRA+ 让 B 的学习率大于 A；与各自最好学习率下的普通 LoRA 相比，"
        "比值取十六的收益是 [[claim:measured-loraplus-gain]]：若只在同一个学习率下比较，"
        "测到的多半只是 B 得到了更大的学习率。",
    ),
    parameters=LearningRateParameters,
    metrics=(
        VALIDATION_LOSS,
        LOSS,
        DIVERGED,
        Metric("best_rate", Text(en="Best learning rate of the grid", zh="网格中最好的学习率"), ""),
        Metric(
            "at_edge",
            Text(en="Whether the best rate is the end of the grid", zh="最好的学习率是否在网格边上"),
            "",
        ),
        Metric("optimum", Text(en="Optimal learning rate between those of the grid", zh="网格点之间的最优学习率"), ""),
        Metric(
            "best_loss",
            Text(en="Loss on held-out phrasings at the best rate", zh="最好学习率下换一种问法时的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "rate_ratio",
            Text(en="Best rate of LoRA over that of full fine-tuning", zh="LoRA 与全量微调最好学习率之比"),
            "×",
        ),
        Metric(
            "optimum_ratio",
            Text(en="Optimum of LoRA over that of full fine-tuning", zh="LoRA 与全量微调最优学习率之比"),
            "×",
        ),
        Metric(
            "gain",
            Text(
                en="Loss of LoRA minus the method's, each at its best rate", zh="LoRA 减去该方法的损失，各取最好学习率"
            ),
            NATS,
        ),
        Metric(
            "borrowed_rate_cost",
            Text(
                en="Loss that LoRA has more at the best rate of full fine-tuning than at its own",
                zh="LoRA 使用全量微调的最好学习率时多出的损失",
            ),
            NATS,
            better="lower",
        ),
    ),
    charts=(
        Chart(
            "validation_loss",
            Text(en="Loss on held-out phrasings against learning rate", zh="换一种问法时的损失随学习率的变化"),
            x="rate",
            series="method",
            log_x=True,
            x_title=RATE,
            series_titles=METHODS,
        ),
        Chart(
            "best_loss",
            Text(en="Loss of each method at its best learning rate", zh="各方法在最好学习率下的损失"),
            x="method",
            kind="bar",
            x_title=METHOD,
            x_titles=METHODS,
        ),
        Chart(
            "optimum",
            Text(en="Optimal learning rate of each method", zh="各方法的最优学习率"),
            x="method",
            kind="bar",
            x_title=METHOD,
            x_titles=METHODS,
        ),
    ),
    guesses=(
        Guess(
            "ratio",
            "value",
            Text(
                en="On the grids of this run, how many times as large is LoRA's best learning rate as that of full "
                "fine-tuning?",
                zh="在本次运行的网格上，LoRA 的最优学习率是全量微调的多少倍？",
            ),
            "rate_ratio",
            ("",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=170),
        "standard": Preset(
            {
                "rates": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
                "full_rates": [3e-5, 1e-4, 3e-4, 1e-3],
                "ratios": [4, 16],
            },
            seeds=(0, 1, 2),
            expected_seconds=660,
        ),
        "gpu": Preset(
            {
                "rates": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
                "full_rates": [3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3],
                "ratios": [2, 4, 8, 16, 32],
                "steps": 100,
                "batch_size": 8,
            },
            seeds=(0, 1, 2),
            expected_seconds=900,
        ),
    },
    work=work,
)
