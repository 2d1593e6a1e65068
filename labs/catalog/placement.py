"""Which matrices should get the adapter, when all choices have as many parameters, and when all have one rank?"""

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
    different,
)

Placement = Literal["q", "k", "v", "o", "gate", "up", "down", "q+v", "q+k+v+o", "mlp", "all"]
Equal = Literal["parameters", "rank"]

MODULES: dict[Placement, str] = {
    "q": "q_proj",
    "k": "k_proj",
    "v": "v_proj",
    "o": "o_proj",
    "gate": "gate_proj",
    "up": "up_proj",
    "down": "down_proj",
    "q+v": "q_proj,v_proj",
    "q+k+v+o": "q_proj,k_proj,v_proj,o_proj",
    "mlp": "gate_proj,up_proj,down_proj",
    "all": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
}


class PlacementParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    placements: list[Placement] = parameter(
        ["q+v", "q+k+v+o", "mlp", "all"],
        Text(en="Placements", zh="放置方式"),
        Text(
            en="Which projections of every layer get an adapter. The others are compared with all linear layers.",
            zh="每层的哪些投影加上适配器。其余方式与全部线性层比较。",
        ),
        min_length=1,
        max_length=11,
    )
    rank: Rank = explained(
        8,
        Text(
            en="Of every placement at equal rank; of all linear layers at equal parameters, which sets the number.",
            zh="等秩比较时各方式的秩；等参数量比较时全部线性层的秩，由它定出参数量。",
        ),
    )
    alpha: Alpha = explained(
        16,
        Text(
            en="The same for every rank, so that the factor α/r falls as the rank grows.",
            zh="各秩相同，因此系数 α/r 随秩增大而减小。",
        ),
    )
    learning_rates: list[Annotated[float, Field(gt=0, le=0.1)]] = parameter(
        [1e-3, 3e-3],
        Text(en="Learning rates", zh="学习率"),
        Text(en="The grid on which each placement finds its best.", zh="每种放置方式在此网格上寻找最优值。"),
        min_length=1,
        max_length=8,
    )
    steps: Steps = 24
    batch_size: BatchSize = 4

    _are_different = different("placements", "learning_rates")


PLACEMENT = Text(en="projections with an adapter", zh="加适配器的投影")
EQUAL = {
    "parameters": Text(en="equal parameters", zh="参数量相等"),
    "rank": Text(en="equal rank", zh="秩相等"),
}


def work(params: PlacementParameters) -> int:
    """All linear layers are the same adapter under both comparisons."""
    adapters = 2 * len(params.placements) - ("all" in params.placements)
    return adapters * len(params.learning_rates) * params.steps * params.batch_size


LAB = Lab(
    slug="placement",
    group="mechanics",
    version=1,
    title=Text(en="Where the adapters go", zh="适配器放在哪里"),
    question=Text(
        en="Which projections should get an adapter, if every choice has the same number of parameters, and if every "
        "choice has the same rank?",
        zh="在参数量相同、或秩相同的前提下，适配器应该加在哪些投影上？",
    ),
    summary=Text(
        en="Trains adapters on single projections, on query and value, on attention, on the MLP and on all linear "
        "layers, each at its best rate of a small grid, and compares the losses on held-out phrasings of the facts. "
        "At equal parameters the rank is chosen so that the number comes as close as possible to that of all linear "
        "layers; the exact numbers stand beside the losses.",
        zh="分别在单个投影、query 与 value、整个注意力、MLP 以及全部线性层上训练适配器，各取小网格中最好的学习率，"
        "比较换一种问法时的损失。等参数量比较时，选取使参数量最接近全部线性层的秩；精确的参数量与损失一并给出。",
    ),
    takeaway=Text(
        en="Compare placements at equal parameters, or the larger one wins for its size. The LoRA paper only tried "
        "attention, and found several matrices at a small rank better than one at a large rank "
        "([[claim:two-matrix-types]] against [[claim:one-matrix-type]]). At equal parameters the MLP does better than "
        "attention by [[claim:measured-mlp-advantage]] here, and query and value alone are behind all linear layers "
        "by [[claim:measured-qv-behind-all]]. Start with all linear layers, and leave something out only for a reason.",
        zh="比较放置方式时要让参数量相等，否则大的赢在个头上。LoRA 论文只试了注意力，"
        "发现小秩加在多个矩阵上好于大秩加在一个矩阵上（[[claim:two-matrix-types]] 对 [[claim:one-matrix-type]]）。"
        "这里在参数量相等时，MLP 比注意力好 [[claim:measured-mlp-advantage]]，"
        "只加 query 与 value 则比全部线性层落后 [[claim:measured-qv-behind-all]]。"
        "应从全部线性层开始，有理由再去掉。",
    ),
    parameters=PlacementParameters,
    metrics=(
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
        Metric("rank", Text(en="Rank", zh="秩"), "", stochastic=False),
        Metric("counted_parameters", Text(en="Parameters trained", zh="训练的参数量"), "parameters", stochastic=False),
        Metric(
            "trainable_parameters",
            Text(en="Trainable parameters", zh="可训练参数量"),
            "parameters",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "parameter_deviation",
            Text(en="Parameters more than all linear layers have", zh="参数量比全部线性层多出"),
            "%",
            stochastic=False,
        ),
        Metric(
            "loss_behind_all",
            Text(en="Loss minus that of all linear layers", zh="比全部线性层高出的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "mlp_advantage",
            Text(
                en="Loss with adapters on attention minus with adapters on the MLP",
                zh="加在注意力上与加在 MLP 上的损失之差",
            ),
            NATS,
        ),
    ),
    charts=(
        Chart(
            "best_loss",
            Text(en="Loss on held-out phrasings by placement", zh="各放置方式换一种问法时的损失"),
            x="placement",
            series="equal",
            kind="bar",
            x_title=PLACEMENT,
            series_titles=EQUAL,
        ),
        Chart(
            "trainable_parameters",
            Text(en="Trainable parameters by placement", zh="各放置方式的可训练参数量"),
            x="placement",
            series="equal",
            kind="bar",
            x_title=PLACEMENT,
            series_titles=EQUAL,
        ),
    ),
    guesses=(
        Guess(
            "order",
            "order",
            Text(
                en="At equal parameters, order the placements by the loss they reach, from the lowest (1) to the "
                "highest (3).",
                zh="参数量相等时，按达到的损失从低（1）到高（3）给各种放置方式排序。",
            ),
            "best_loss",
            (
                "equal=parameters,placement=q+v",
                "equal=parameters,placement=q+k+v+o",
                "equal=parameters,placement=all",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=160),
        "standard": Preset(
            {"placements": ["q", "k", "v", "o", "down", "q+v", "q+k+v+o", "mlp", "all"]},
            seeds=(0, 1, 2),
            expected_seconds=1020,
        ),
        "gpu": Preset(
            {"placements": list(MODULES), "learning_rates": [3e-4, 1e-3, 3e-3, 1e-2], "steps": 100, "batch_size": 8},
            seeds=(0, 1, 2),
            expected_seconds=1200,
        ),
    },
    work=work,
)
