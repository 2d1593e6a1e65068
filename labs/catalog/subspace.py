"""Which directions does an update use, and does a larger rank find more of them?"""

from typing import Annotated

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import DIVERGED, VALIDATION_LOSS, Alpha, BatchSize, LanguageModel, LearningRate, Steps, TargetModules


class SubspaceParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    small_rank: Annotated[int, Field(ge=1, le=32)] = parameter(
        8, Text(en="Small rank", zh="小秩"), Text(en="8 in the paper.", zh="论文中为 8。")
    )
    large_rank: Annotated[int, Field(ge=2, le=256)] = parameter(
        64,
        Text(en="Large rank", zh="大秩"),
        Text(
            en="64 in the paper. Two adapters have it, with different seeds.", zh="论文中为 64。有两个，随机种子不同。"
        ),
    )
    alpha: Alpha = explained(16, Text(en="The same for both ranks.", zh="两种秩相同。"))
    target_modules: TargetModules = explained(
        "q_proj,v_proj", Text(en="The paper looks at queries and values.", zh="论文考察的是 query 与 value。")
    )
    steps: Steps = 40
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 3e-3


COMPARISONS = {
    "ranks": Text(en="small and large rank", zh="小秩与大秩"),
    "seeds": Text(en="large rank, two seeds", zh="大秩，两个随机种子"),
    "random": Text(en="random matrices", zh="随机矩阵"),
}
DIRECTIONS = {
    "update": Text(en="of the update", zh="更新的方向"),
    "weight": Text(en="the weight's own top ones", zh="权重自身的主方向"),
    "random": Text(en="random", zh="随机"),
}

LAB = Lab(
    slug="subspace",
    group="mechanics",
    version=1,
    title=Text(en="The directions of an update", zh="更新的方向"),
    question=Text(
        en="Do adapters of rank 8 and 64, or of two seeds, find the same directions, and what do these have to do with "
        "the weight that is updated?",
        zh="秩 8 与秩 64、或两个随机种子的适配器，找到的是同样的方向吗？这些方向与被更新的权重有什么关系？",
    ),
    summary=Text(
        en="Repeats section 7 of the LoRA paper on a small model. Similarity is the squared overlap of the top i "
        "directions of one adapter with the top j of another, over min(i, j): 1 if one holds the other, "
        "max(i, j)/d for random ones. Amplification is the update's norm over what the weight has in the update's own "
        "directions. All are means over the adapted layers.",
        zh="在小模型上重做 LoRA 论文第 7 节。相似度是一个适配器前 i 个方向与另一个前 j 个方向重合部分的平方，除以 "
        "min(i, j)：一方包含另一方时为 1，随机时为 max(i, j)/d。放大系数是更新的范数除以权重在更新自身方向上的分量。"
        "数值都是对所有加了适配器的层取平均。",
    ),
    takeaway=Text(
        en="The paper argues for low rank with a top direction that every rank and seed finds again, while the rest is "
        "noise. Here the top directions of rank 8 and 64 overlap by [[claim:top-direction-shared-by-ranks]], those of "
        "two seeds by [[claim:top-direction-shared-by-seeds]], random ones by [[claim:random-direction-overlap]]. "
        "The update at rank 8 amplifies its directions in W by [[claim:amplification-measured-r8]], at rank 64 "
        "[[claim:amplification-measured-r64]]: name the rank and the length of training with such a factor, because "
        "it grows with the update, and put random directions beside it: only what W has beyond those in the update's "
        "directions says that the two are related.",
        zh="论文主张低秩的理由是：不同秩、不同种子都会找到同一个主方向，其余只是噪声。这里秩 8 与秩 64 的主方向重合 "
        "[[claim:top-direction-shared-by-ranks]]，两个种子之间重合 [[claim:top-direction-shared-by-seeds]]；"
        "随机方向则是 [[claim:random-direction-overlap]]。"
        "秩 8 的更新把 W 在其方向上的分量放大 [[claim:amplification-measured-r8]]，秩 64 是 "
        "[[claim:amplification-measured-r64]]。引用这个系数时要说明秩和训练长度，因为它随更新变大而变大；"
        "还要与随机方向对照：W 在更新方向上的分量只有超出随机方向的部分，才说明两者有关。",
    ),
    parameters=SubspaceParameters,
    metrics=(
        Metric("similarity", Text(en="Similarity of the subspaces", zh="子空间相似度"), ""),
        Metric(
            "amplification",
            Text(
                en="Update's norm over the weight's norm in these directions",
                zh="更新的范数与权重在这些方向上的范数之比",
            ),
            "×",
        ),
        Metric("projected_norm", Text(en="The weight's norm in these directions", zh="权重在这些方向上的范数"), ""),
        Metric("update_norm", Text(en="The update's norm", zh="更新的范数"), ""),
        Metric("weight_norm", Text(en="The weight's norm", zh="权重的范数"), "", stochastic=False),
        VALIDATION_LOSS,
        DIVERGED,
    ),
    charts=(
        Chart(
            "similarity",
            Text(en="Small against large rank: top i and top j directions", zh="小秩与大秩：前 i 个与前 j 个方向"),
            x="j",
            series="i",
            kind="heat",
            x_title=Text(en="j of the large rank", zh="大秩的 j"),
            where={"comparison": "ranks", "matrix": "update"},
        ),
        Chart(
            "similarity",
            Text(
                en="Is the top direction of one update among the top j of the other?",
                zh="一个更新的主方向是否在另一个的前 j 个方向之中？",
            ),
            x="j",
            series="comparison",
            log_x=True,
            x_title=Text(en="j", zh="j"),
            series_titles=COMPARISONS,
            where={"i": "1", "matrix": "update"},
        ),
        Chart(
            "similarity",
            Text(en="The same for A alone", zh="同上，只看 A"),
            x="j",
            series="comparison",
            log_x=True,
            x_title=Text(en="j", zh="j"),
            series_titles=COMPARISONS,
            where={"i": "1", "matrix": "A"},
        ),
        Chart(
            "projected_norm",
            Text(en="What the weight has in as many directions as the rank", zh="权重在与秩同样多的方向上的范数"),
            x="rank",
            series="directions",
            kind="bar",
            x_title=Text(en="rank", zh="秩"),
            series_titles=DIRECTIONS,
        ),
    ),
    guesses=(
        Guess(
            "amplification",
            "value",
            Text(
                en="By what factor does the update amplify its own directions of W, at rank 8?",
                zh="秩 8 时，更新把 W 在其自身方向上的分量放大多少倍？",
            ),
            "amplification",
            ("directions=update,rank=8",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=90),
        "standard": Preset({"steps": 100}, seeds=(0, 1, 2), expected_seconds=600),
        "gpu": Preset({"steps": 500}, seeds=(0, 1, 2), expected_seconds=400),
    },
    work=lambda params: params.steps * params.batch_size,
)
