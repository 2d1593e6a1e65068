"""What keeps an adapter from overfitting, and how much of it is the number of examples?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import DIVERGED, LOSS, NATS, BatchSize, LanguageModel, LearningRate, Rank, Steps, different

Regulariser = Literal["none", "dropout", "decay", "small-rank"]

# Early stopping is no training of its own: it is read off the one without a regulariser.
REGULARISERS: dict[str, Text] = {
    "none": Text(en="none", zh="无"),
    "dropout": Text(en="dropout", zh="dropout"),
    "decay": Text(en="weight decay", zh="权重衰减"),
    "small-rank": Text(en="rank 1", zh="秩 1"),
    "early-stopping": Text(en="early stopping", zh="早停"),
}
LARGEST = 1024


class RegularisationParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    sizes: list[Annotated[int, Field(ge=16, le=LARGEST)]] = parameter(
        [64],
        Text(en="Numbers of examples", zh="样本数"),
        Text(
            en="Each training sees so many different examples, the smaller sets are part of the larger ones.",
            zh="每次训练所用的不同样本数；小的集合包含在大的集合里。",
        ),
        min_length=1,
        max_length=5,
    )
    regularisers: list[Regulariser] = parameter(
        ["none", "dropout", "decay", "small-rank"],
        Text(en="Regularisers", zh="正则化手段"),
        Text(
            en="One at a time. small-rank is rank 1 at the same α/r. Early stopping comes with none.",
            zh="每次只用一种。small-rank：秩 1，α/r 不变。早停由 none 得出。",
        ),
        min_length=1,
        max_length=4,
    )
    dropout: Annotated[float, Field(gt=0, le=0.9)] = parameter(
        0.1,
        Text(en="Dropout", zh="Dropout"),
        Text(en="Of the input of A, while training.", zh="训练时作用于 A 的输入。"),
    )
    weight_decay: Annotated[float, Field(gt=0, le=10)] = parameter(
        0.1,
        Text(en="Weight decay", zh="权重衰减"),
        Text(
            en="AdamW's, on A and B: each step takes away this times the learning rate.",
            zh="AdamW 对 A、B 的衰减：每步减去该值乘以学习率的比例。",
        ),
    )
    rank: Rank = explained(
        8, Text(en="Of the adapters on all linear layers, with α = 2r.", zh="全部线性层上适配器的秩，α = 2r。")
    )
    steps: Steps = explained(
        32,
        Text(
            en="The same for every number of examples; the held-out loss is taken at eight moments.",
            zh="与样本数无关；其间计算八次留出损失。",
        ),
    )
    batch_size: BatchSize = 4
    learning_rate: LearningRate = 3e-3

    _are_different = different("sizes", "regularisers")


SIZE = Text(en="examples", zh="样本数")
REGULARISER = Text(en="regulariser", zh="正则化手段")

LAB = Lab(
    slug="regularisation",
    group="mechanics",
    version=1,
    title=Text(en="What keeps an adapter from overfitting", zh="怎样防止适配器过拟合"),
    question=Text(
        en="On few examples an adapter learns the noise too. Do dropout, weight decay, a small rank or early stopping "
        "keep the held-out loss down, and how much do more examples do?",
        zh="样本少时，适配器会把噪声也学进去。dropout、权重衰减、小的秩、早停能压住留出损失吗？增加样本又有多大作用？",
    ),
    summary=Text(
        en="Answers of an invented world cannot be guessed, so what helps on facts never shown is only the form of the "
        "answers; whoever is sure of a wrong answer pays for it. Trains the same number of steps on 64 to 1024 "
        "examples and compares the loss on trained examples with that on facts never shown.",
        zh="虚构世界的答案猜不出来，对从未给出的事实有用的只有答案的形式；越确信错误答案，损失越大。"
        "用 64 到 1024 个样本训练同样的步数，比较训练样本上的损失与从未给出的事实上的损失。",
    ),
    takeaway=Text(
        en="On 64 examples the held-out loss ends [[claim:measured-gap-64]] above the training loss, on 1024 after the "
        "same steps [[claim:measured-gap-1024]]: more examples are the first remedy. On the 64, early stopping gains "
        "[[claim:measured-early-stopping-gain]] and rank one [[claim:measured-small-rank-gain]]; dropout at its usual "
        "tenth gains [[claim:measured-dropout-gain]] and weight decay at its usual value "
        "[[claim:measured-decay-gain]], and five seeds can tell neither of these two from nothing. Early stopping "
        "costs only a validation set, which must be another than the one reported; weight decay does little in a short "
        "training, since it shrinks weights by rate times decay a step.",
        zh="64 个样本时，最终的留出损失比训练损失高 [[claim:measured-gap-64]]；1024 个样本、同样步数时高 "
        "[[claim:measured-gap-1024]]：首选办法是增加样本。在 64 个样本上，早停的收益是 "
        "[[claim:measured-early-stopping-gain]]，秩 1 是 [[claim:measured-small-rank-gain]]；dropout 取常用的十分"
        "之一，收益是 [[claim:measured-dropout-gain]]，常用大小的权重衰减是 [[claim:measured-decay-gain]]，五个种"
        "子都无法把这两项与零区分。早停的代价只是一个验证集，而且它不能就是用来报告的那一个；权重衰减在短训练里作"
        "用很小，因为每步只缩小“学习率 × 衰减”的比例。",
    ),
    parameters=RegularisationParameters,
    metrics=(
        Metric(
            "held_out_loss",
            Text(en="Loss on facts never shown", zh="从未给出的事实上的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "training_loss",
            Text(en="Loss on trained examples, without dropout", zh="训练样本上的损失（不加 dropout）"),
            NATS,
            better="lower",
        ),
        Metric(
            "gap",
            Text(en="Held-out loss minus loss on trained examples", zh="留出损失减去训练样本上的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "gain",
            Text(en="Held-out loss won over no regulariser", zh="比不加正则化降低的留出损失"),
            NATS,
            better="higher",
        ),
        Metric(
            "moment_loss",
            Text(en="Loss on facts never shown, while training", zh="训练过程中在从未给出的事实上的损失"),
            NATS,
            better="lower",
        ),
        Metric("stopped_at", Text(en="Step that early stopping chooses", zh="早停选中的步数"), "steps"),
        DIVERGED,
        LOSS,
    ),
    charts=(
        Chart(
            "held_out_loss",
            Text(en="Held-out loss against training loss", zh="留出损失与训练损失"),
            x="regulariser",
            series="examples",
            kind="scatter",
            x_metric="training_loss",
            x_titles=REGULARISERS,
        ),
        Chart(
            "moment_loss",
            Text(en="Held-out loss while training on 64 examples", zh="用 64 个样本训练时的留出损失"),
            x="step",
            series="regulariser",
            x_title=Text(en="steps", zh="步数"),
            series_titles=REGULARISERS,
            where={"examples": "64"},
        ),
        Chart(
            "gap",
            Text(en="Held-out loss minus training loss", zh="留出损失减去训练损失"),
            x="examples",
            series="regulariser",
            log_x=True,
            x_title=SIZE,
            series_titles=REGULARISERS,
        ),
    ),
    guesses=(
        Guess(
            "gap",
            "order",
            Text(
                en="Order the trainings on 64 examples by how far the held-out loss ends above the training loss, "
                "from the least (1) to the most (3).",
                zh="在 64 个样本上，按最终留出损失超出训练损失的多少，从少（1）到多（3）排序。",
            ),
            "gap",
            (
                "examples=64,regulariser=none",
                "examples=64,regulariser=dropout",
                "examples=64,regulariser=small-rank",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=150),
        "standard": Preset({"sizes": [64, 256, 1024]}, seeds=(0, 1, 2, 3, 4), expected_seconds=1050),
        "gpu": Preset(
            {"sizes": [64, 256, 1024], "steps": 400, "batch_size": 8, "learning_rate": 1e-3},
            seeds=(0, 1, 2),
            expected_seconds=900,
        ),
    },
    work=lambda params: len(params.sizes) * len(params.regularisers) * (params.steps * params.batch_size + 256),
)
