"""Does LoRA work on convolutions?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import Steps, different


class LoconParameters(Parameters):
    ranks: list[Annotated[int, Field(ge=1, le=32)]] = parameter(
        [1, 2, 4, 8, 16],
        Text(en="Ranks", zh="秩"),
        Text(
            en="Channels between the two convolutions that make up the update.",
            zh="构成更新的两个卷积之间的通道数。",
        ),
        min_length=1,
        max_length=8,
    )
    shift: Literal["rotated", "inverted"] = parameter(
        "rotated",
        Text(en="The new task", zh="新任务"),
        Text(
            en="What happens to the images after pretraining: turned by a quarter, or dark and light exchanged.",
            zh="预训练之后图像的变化：旋转四分之一圈，或明暗互换。",
        ),
    )
    examples: Annotated[int, Field(ge=20, le=390)] = parameter(
        200,
        Text(en="Training images", zh="训练图像数"),
        Text(en="Of the new task.", zh="新任务的训练图像数。"),
    )
    learning_rates: list[Annotated[float, Field(gt=0, le=1)]] = parameter(
        [3e-4, 1e-3, 3e-3, 1e-2],
        Text(en="Learning rates", zh="学习率"),
        Text(
            en="Of AdamW, with warm-up and linear decay; each method counts at its lowest validation loss.",
            zh="AdamW 的学习率，先预热再线性衰减；每种方法取验证损失最低的一个。",
        ),
        min_length=1,
        max_length=6,
    )
    steps: Steps = explained(
        200, Text(en="On the new task, for each method and learning rate.", zh="新任务上，每种方法、每个学习率的步数。")
    )
    pretraining_steps: Annotated[int, Field(ge=1, le=5000)] = parameter(
        400,
        Text(en="Steps of pretraining", zh="预训练步数"),
        Text(en="On other images, upright.", zh="在另一些正立的图像上。"),
    )
    batch_size: Annotated[int, Field(ge=1, le=256)] = parameter(
        32, Text(en="Batch size", zh="批大小"), Text(en="Images in a step.", zh="每一步使用的图像数。")
    )

    _are_different = different("ranks", "learning_rates")


TRAINED = Text(en="what is trained (rN: LoCon of rank N)", zh="训练的部分（rN：秩为 N 的 LoCon）")

LAB = Lab(
    slug="locon",
    group="methods",
    version=1,
    title=Text(en="LoRA on convolutions", zh="卷积上的 LoRA"),
    question=Text(
        en="Can a low-rank update adapt a convolutional network as well as training its whole kernels?",
        zh="低秩更新能否像训练整个卷积核那样，让卷积网络适应新任务？",
    ),
    summary=Text(
        en="Pretrains a small network on upright digits, changes the images, and adapts it with PEFT's LoRA on all "
        "convolutions (a convolution to r channels, then a 1 × 1 one, known as LoCon), by full fine-tuning, and with "
        "a new last layer alone. Each method has the best of the same learning rates; the last layer is new in all.",
        zh="先在正立的数字图像上预训练一个小网络，再改变图像，分别用三种方法适应：全部卷积上的 LoRA"
        "（先卷积到 r 个通道，再做 1 × 1 卷积，即 LoCon，用 PEFT 实现）；全参数微调；只训练新的最后一层。"
        "每种方法从同样的几个学习率中取最好的；"
        "所有方法的最后一层都是新的。",
    ),
    takeaway=Text(
        en="A kernel is a matrix of output channels by input channels times window, so LoRA applies: the first factor "
        "is a convolution to r channels, the second a 1 × 1 convolution, r·(C_in·k² + C_out) weights "
        "([[claim:locon-8-count]] here). Against full fine-tuning its error differs by [[claim:locon-close-to-full]]. "
        "Where the layer is narrow the saving is small or none: on the first layer, with one input channel, rank 8 has "
        "more weights than the kernel. Whether full fine-tuning's own update is of low rank is another question: "
        "rank 8 holds [[claim:conv-update-energy]] of its energy.",
        zh="卷积核就是“输出通道 ×（输入通道 · 窗口）”的矩阵，LoRA 照样适用：第一个因子是到 r 个通道的卷积，"
        "第二个是 1 × 1 卷积，权重数 r·(C_in·k² + C_out)（这里是 [[claim:locon-8-count]]）。"
        "与全参数微调相比，错误率相差 [[claim:locon-close-to-full]]。层很窄时省得少，甚至不省：第一层只有一个输入通道，"
        "秩 8 的权重比卷积核本身还多。全参数微调的更新本身是否低秩，则是另一回事：秩 8 占其能量的 "
        "[[claim:conv-update-energy]]。",
    ),
    parameters=LoconParameters,
    metrics=(
        Metric("test_error", Text(en="Errors on the new task", zh="新任务上的错误率"), "%", better="lower"),
        Metric(
            "error_over_full",
            Text(en="Errors beyond those of full fine-tuning", zh="比全参数微调多出的错误率"),
            "percentage points",
            better="lower",
        ),
        Metric("test_loss", Text(en="Loss on the new task", zh="新任务上的损失"), "nats per image", better="lower"),
        Metric("learning_rate", Text(en="Learning rate chosen", zh="选中的学习率"), ""),
        Metric(
            "trainable_parameters",
            Text(en="Trainable weights, apart from the last layer", zh="可训练权重数（不计最后一层）"),
            "parameters",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "reduction",
            Text(en="Times fewer than all kernels", zh="比全部卷积核少多少倍"),
            "×",
            stochastic=False,
            better="higher",
        ),
        Metric(
            "full_update_energy",
            Text(
                en="Share of full fine-tuning's update in its best approximation of that rank",
                zh="该秩的最佳近似占全参数微调更新的能量",
            ),
            "%",
        ),
        Metric(
            "pretraining_error",
            Text(en="Errors on upright digits after pretraining", zh="预训练后正立数字上的错误率"),
            "%",
        ),
        Metric("diverged", Text(en="Learning rates at which training diverged", zh="训练发散的学习率个数"), ""),
    ),
    charts=(
        Chart(
            "test_error",
            Text(en="Errors on the new task", zh="新任务上的错误率"),
            x="trained",
            kind="bar",
            x_title=TRAINED,
        ),
        Chart(
            "trainable_parameters",
            Text(en="Trainable weights, apart from the last layer", zh="可训练权重数（不计最后一层）"),
            x="trained",
            kind="bar",
            x_title=TRAINED,
        ),
        Chart(
            "full_update_energy",
            Text(en="How much of full fine-tuning's update a rank holds", zh="各个秩占全参数微调更新的多少"),
            x="rank",
            log_x=True,
            x_title=Text(en="rank", zh="秩"),
        ),
    ),
    guesses=(
        Guess(
            "energy",
            "value",
            Text(
                en="What share of full fine-tuning's update, in percent of its energy, can eight ranks hold?",
                zh="秩 8 的最佳近似能保留全参数微调更新能量的百分之几？",
            ),
            "full_update_energy",
            ("rank=8",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=50),
        "standard": Preset({}, seeds=tuple(range(6)), expected_seconds=300),
        "gpu": Preset({"steps": 1000, "pretraining_steps": 2000}, seeds=tuple(range(10)), expected_seconds=900),
    },
    work=lambda params: (2 + len(params.ranks)) * len(params.learning_rates) * params.steps * params.batch_size,
)
