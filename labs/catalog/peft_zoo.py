"""Which way of fine-tuning learns most, forgets least and costs least, each at its own learning rate?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.formulas.lora import ALL_LINEAR, lora_parameters, model_parameters
from labs.formulas.matrices import frozen_a_parameters
from labs.formulas.training import adalora_adapter_parameters, dora_adapter_parameters, dora_magnitudes
from labs.formulas.variants import (
    bottleneck_parameters,
    ia3_parameters,
    key_width,
    norm_parameters,
    p_tuning_parameters,
    peft_lokr_parameters,
    prefix_encoder_parameters,
    prompt_parameters,
    vera_parameters,
)
from labs.shared import DIVERGED, NATS, VALIDATION_LOSS, Alpha, BatchSize, LanguageModel, different

MethodName = Literal[
    "lora",
    "rslora",
    "dora",
    "pissa",
    "olora",
    "eva",
    "loftq",
    "lora-fa",
    "lora-plus",
    "lora-ga",
    "adalora",
    "ia3",
    "loha",
    "lokr",
    "vera",
    "prefix",
    "prompt",
    "p-tuning",
    "norms",
    "bitfit",
    "bottleneck",
    "full",
]

VIRTUAL_TOKENS = 8
P_TUNING_WIDTH = 128  # of the MLP that makes the virtual tokens
LOKR_FACTOR = 8  # the small Kronecker factor is 8 × 8
LORA_PLUS_RATIO = 16.0  # of B's learning rate over A's, as the paper suggests


def loha_rank(rank: int) -> int:
    """Half of it, because LoHa has two pairs of factors."""
    return max(1, rank // 2)


def vera_rank(rank: int) -> int:
    """VeRA's rank costs one parameter a layer."""
    return 8 * rank


def adalora_start_rank(rank: int) -> int:
    """Half as much again as the rank that is left on average in the end."""
    return rank + rank // 2


def bottleneck_size(rank: int) -> int:
    """So wide that two adapters a block have about as many parameters as LoRA on a block's seven layers."""
    return 4 * rank


def _lora(model: str, rank: int) -> int:
    return lora_parameters(model, ALL_LINEAR, rank)


@dataclass(frozen=True)
class Method:
    """A method: its name, its grid of learning rates in ascending order, and how many parameters it trains.

    `parameters` takes the name of a model in labs.formulas and the rank.
    """

    title: Text
    rates: tuple[float, float, float]
    parameters: Callable[[str, int], int]


def _same(name: str) -> Text:
    return Text(en=name, zh=name)


METHODS: dict[MethodName, Method] = {
    "lora": Method(_same("LoRA"), (1e-3, 3e-3, 1e-2), _lora),
    "rslora": Method(_same("rsLoRA"), (3e-4, 1e-3, 3e-3), _lora),
    "dora": Method(
        _same("DoRA"), (1e-3, 3e-3, 1e-2), lambda model, rank: dora_adapter_parameters(model, ALL_LINEAR, rank)
    ),
    "pissa": Method(_same("PiSSA"), (3e-4, 1e-3, 3e-3), _lora),
    "olora": Method(_same("OLoRA"), (3e-4, 1e-3, 3e-3), _lora),
    "eva": Method(_same("EVA"), (1e-3, 3e-3, 1e-2), _lora),
    "loftq": Method(_same("LoftQ"), (1e-3, 3e-3, 1e-2), _lora),
    "lora-fa": Method(
        _same("LoRA-FA"), (3e-3, 1e-2, 3e-2), lambda model, rank: frozen_a_parameters(model, ALL_LINEAR, rank)
    ),
    "lora-plus": Method(_same("LoRA+"), (1e-4, 3e-4, 1e-3), _lora),
    "lora-ga": Method(_same("LoRA-GA"), (3e-4, 1e-3, 3e-3), _lora),
    "adalora": Method(
        _same("AdaLoRA"),
        (3e-3, 1e-2, 3e-2),
        lambda model, rank: adalora_adapter_parameters(model, ALL_LINEAR, adalora_start_rank(rank)),
    ),
    "ia3": Method(_same("IA³"), (1e-2, 3e-2, 1e-1), lambda model, _rank: ia3_parameters(model)),
    "loha": Method(
        _same("LoHa"), (3e-3, 1e-2, 3e-2), lambda model, rank: 2 * lora_parameters(model, ALL_LINEAR, loha_rank(rank))
    ),
    "lokr": Method(
        _same("LoKr"),
        (3e-3, 1e-2, 3e-2),
        lambda model, rank: peft_lokr_parameters(model, ALL_LINEAR, rank, LOKR_FACTOR),
    ),
    "vera": Method(
        _same("VeRA"), (1e-2, 3e-2, 1e-1), lambda model, rank: vera_parameters(model, ALL_LINEAR, vera_rank(rank))
    ),
    "prefix": Method(
        Text(en="prefix", zh="前缀微调"),
        (3e-3, 1e-2, 3e-2),
        lambda model, _rank: prefix_encoder_parameters(model, VIRTUAL_TOKENS, key_width(model)),
    ),
    "prompt": Method(
        Text(en="prompt", zh="提示微调"),
        (1e-2, 3e-2, 1e-1),
        lambda model, _rank: prompt_parameters(model, VIRTUAL_TOKENS),
    ),
    "p-tuning": Method(
        _same("P-tuning"),
        (1e-3, 3e-3, 1e-2),
        lambda model, _rank: p_tuning_parameters(model, VIRTUAL_TOKENS, P_TUNING_WIDTH),
    ),
    "norms": Method(Text(en="norms", zh="归一化层"), (3e-3, 1e-2, 3e-2), lambda model, _rank: norm_parameters(model)),
    "bitfit": Method(_same("BitFit"), (1e-3, 3e-3, 1e-2), lambda model, _rank: dora_magnitudes(model, ALL_LINEAR)),
    "bottleneck": Method(
        Text(en="bottleneck", zh="瓶颈适配器"),
        (3e-4, 1e-3, 3e-3),
        lambda model, rank: bottleneck_parameters(model, bottleneck_size(rank)),
    ),
    "full": Method(Text(en="full", zh="全量微调"), (1e-4, 3e-4, 1e-3), lambda model, _rank: model_parameters(model)),
}
TITLES: dict[str, Text] = {name: method.title for name, method in METHODS.items()}
QUICK: list[MethodName] = ["lora", "ia3", "prompt", "bitfit", "full"]


class PeftZooParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    methods: list[MethodName] = parameter(
        QUICK,
        Text(en="Methods", zh="方法"),
        Text(
            en="Each with its own small grid of learning rates. Differences to LoRA and to full fine-tuning are logged "
            "where these are chosen too.",
            zh="每种方法有自己的一小组学习率。只有同时选了 LoRA 和全量微调，才会给出与它们的差。",
        ),
        min_length=1,
        max_length=len(METHODS),
    )
    rates: Annotated[int, Field(ge=1, le=3)] = parameter(
        2,
        Text(en="Learning rates tried", zh="尝试的学习率个数"),
        Text(
            en="How many of a method's three rates the first seed tries, the middle one first, then the lower. The "
            "other seeds take the best of them.",
            zh="第一个种子尝试每种方法三个学习率中的几个：先中间，再较小的。其余种子用其中最好的。",
        ),
    )
    rank: Annotated[int, Field(ge=2, le=64, multiple_of=2)] = parameter(
        8,
        Text(en="Rank", zh="秩"),
        Text(
            en="Of LoRA and its kin; the width of bottleneck adapters and the ranks of AdaLoRA, LoHa and VeRA follow.",
            zh="LoRA 一族的秩；瓶颈适配器的宽度以及 AdaLoRA、LoHa、VeRA 的秩由它决定。",
        ),
    )
    alpha: Alpha = explained(16, Text(en="The same for all.", zh="各方法相同。"))
    steps: Annotated[int, Field(ge=6, le=2000)] = parameter(
        10, Text(en="Training steps", zh="训练步数"), Text(en="The same for all methods.", zh="各方法相同。")
    )
    batch_size: BatchSize = 8
    prose_passages: Annotated[int, Field(ge=1, le=48)] = parameter(
        4,
        Text(en="Passages of prose", zh="散文段数"),
        Text(
            en="General English before and after training: what its loss rises by is forgetting.",
            zh="训练前后的普通英语；其损失的上升就是遗忘。",
        ),
    )

    _are_different = different("methods", noun="method")


METHOD = Text(en="method", zh="方法")


def _pareto(title: Text, against: str, *, log_x: bool = True) -> Chart:
    """Every method by its loss and another of its metrics."""
    return Chart(
        "validation_loss",
        title,
        x="method",
        kind="scatter",
        x_metric=against,
        log_x=log_x,
        x_title=METHOD,
        x_titles=TITLES,
    )


def _work(params: PeftZooParameters) -> float:
    """Steps of training, and of what is about as long: the start and the evaluations of each method."""
    return len(params.methods) * params.rates * (params.steps + 8) * params.batch_size


LAB = Lab(
    slug="peft-zoo",
    group="methods",
    version=1,
    title=Text(en="The zoo of fine-tuning methods", zh="微调方法大全"),
    question=Text(
        en="There are dozens of ways to fine-tune. On the same data and with as many steps, each at its own best "
        "learning rate: which one learns most, which forgets least, and what does it cost?",
        zh="微调方法有几十种。同样的数据、同样的步数、各用自己最好的学习率：哪种学得最好、哪种忘得最少，代价又是多少？",
    ),
    summary=Text(
        en="Trains 22 methods on the facts data set from the same base. One seed tries three learning rates a method, "
        "each about three times the one before, and takes the one with the lowest loss on half of the held-out "
        "phrasings; the other half is what is reported, over all seeds at that rate. BitFit adds zero biases to the "
        "linear layers, because Llama has none; LoftQ's 4-bit base is kept in float32; LoRA-FA freezes A. Times need a "
        "quiet machine; memory is counted on two further steps, as bytes of all tensors alive at once.",
        zh="在同一个基座上用 facts 数据集训练 22 种方法。第一个种子对每种方法试三个学习率（后一个约为前一个的三倍），"
        "按一半的留出问法上的损失选最好的；报告的是另一半上的损失，所有种子都用该学习率。Llama 没有偏置，"
        "所以 BitFit 给线性层加上零偏置；LoftQ 的 4 位基座以 float32 保存；LoRA-FA 冻结 A。"
        "用时需要机器空闲才有意义；内存是另跑两步，统计同时存活的全部张量的字节数。",
    ),
    takeaway=Text(
        en="Do not rank methods at one common learning rate: what they multiply the update by differs, and so do their "
        "best rates. Each at the best of three rates, after a dozen steps, full fine-tuning is "
        "[[claim:zoo-full-gains-little]] ahead of LoRA; DoRA is ahead by [[claim:zoo-dora-beats-lora]] and PiSSA by "
        "[[claim:zoo-pissa-beats-lora]], and three seeds can tell neither from nothing. Nor can they say whether the "
        "variants stay within a tenth of LoRA ([[claim:zoo-variants-within-a-tenth]] for rsLoRA), so ask of every new "
        "one over how many seeds it won, and whether LoRA was tuned as well: a method whose best rate lies at the edge "
        "of its grid, as the table shows for several, is not tuned yet. Prompt tuning is far behind on a model this "
        "small ([[claim:zoo-prompt-lags]]). Which forgets more on general text, full fine-tuning or LoRA, stays open "
        "([[claim:zoo-full-forgets-more]]). And count before you compare: BitFit has nothing to train in a Llama "
        "unless biases are added, [[claim:zoo-bitfit-parameters]] here.",
        zh="不要用同一个学习率给各种方法排名：它们对更新量的缩放不同，最好的学习率也就不同。各取三个学习率中最好的，"
        "训练十几步之后，全量微调领先 LoRA [[claim:zoo-full-gains-little]]；DoRA 领先 [[claim:zoo-dora-beats-lora]]，"
        "PiSSA 领先 [[claim:zoo-pissa-beats-lora]]，三个种子都无法把它们与零区分，"
        "也无法判断各变体与 LoRA 的差是否在十分之一以内（rsLoRA 为 [[claim:zoo-variants-within-a-tenth]]）。"
        "所以看到新变体，要问它赢了多少个种子、作为对照的 LoRA 有没有同样调过："
        "最好的学习率落在网格边上的方法（表中有好几个）还没有调好。模型这么小时，提示微调落后很多"
        "（[[claim:zoo-prompt-lags]]）。全量微调与 LoRA 谁在通用文本上忘得更多，还没有定论"
        "（[[claim:zoo-full-forgets-more]]）。比较之前先数参数：Llama 没有偏置，BitFit 要先加上才有东西可训，"
        "这里是 [[claim:zoo-bitfit-parameters]]。",
    ),
    parameters=PeftZooParameters,
    metrics=(
        VALIDATION_LOSS,
        Metric(
            "prose_change",
            Text(en="Forgetting: rise of the loss on prose", zh="遗忘：散文损失的上升"),
            "nats per token",
            better="lower",
        ),
        Metric(
            "trainable_parameters",
            Text(en="Trainable parameters", zh="可训练参数"),
            "parameters",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "adapter_bytes",
            Text(en="Size of what is saved", zh="保存文件的大小"),
            "bytes",
            stochastic=False,
            better="lower",
        ),
        Metric("seconds_per_step", Text(en="Median time of a step", zh="每步用时的中位数"), "s", better="lower"),
        Metric(
            "peak_memory",
            Text(en="Peak memory of a training step", zh="训练一步的内存峰值"),
            "MB",
            stochastic=False,
            better="lower",
        ),
        Metric("rate", Text(en="Learning rate chosen", zh="选出的学习率"), "", stochastic=False),
        Metric(
            "at_grid_edge",
            Text(
                en="Chosen rate is at the edge of its grid of three (1: yes)",
                zh="选出的学习率在三个之中的边缘（1：是）",
            ),
            "",
            stochastic=False,
        ),
        Metric(
            "gain_over_lora",
            Text(en="Loss won over LoRA with the same data", zh="同样数据下比 LoRA 降低的损失"),
            NATS,
            better="higher",
        ),
        Metric(
            "forgetting_over_lora",
            Text(en="Forgetting beyond that of LoRA", zh="比 LoRA 多出的遗忘"),
            "nats per token",
            better="lower",
        ),
        DIVERGED,
        Metric(
            "choice_loss",
            Text(en="Loss that the learning rate is chosen by", zh="选择学习率所依据的损失"),
            NATS,
            better="lower",
        ),
        Metric("rate_loss", Text(en="Loss at a rate of the grid", zh="网格中某个学习率下的损失"), NATS, better="lower"),
        Metric(
            "rate_prose_change",
            Text(en="Forgetting at a rate of the grid", zh="网格中某个学习率下的遗忘"),
            "nats per token",
            better="lower",
        ),
        Metric(
            "rate_seconds",
            Text(en="Median time of a step at a rate of the grid", zh="网格中某个学习率下每步用时的中位数"),
            "s",
            better="lower",
        ),
        Metric(
            "rate_diverged",
            Text(en="Diverged at a rate of the grid (1: yes)", zh="在网格中某个学习率下发散（1：是）"),
            "",
        ),
        Metric(
            "loss",
            Text(en="Training loss (of AdaLoRA with its penalty)", zh="训练损失（AdaLoRA 含其惩罚项）"),
            NATS,
            better="lower",
        ),
        Metric(
            "base_validation_loss",
            Text(en="Loss of the base on held-out phrasings", zh="基座换一种问法时的损失"),
            NATS,
            stochastic=False,
        ),
        Metric(
            "base_prose_loss",
            Text(en="Loss of the base on prose", zh="基座在散文上的损失"),
            "nats per token",
            stochastic=False,
        ),
    ),
    charts=(
        _pareto(Text(en="Learning against trained parameters", zh="学习与训练的参数量"), "trainable_parameters"),
        _pareto(Text(en="Learning against forgetting", zh="学习与遗忘"), "prose_change", log_x=False),
        _pareto(Text(en="Learning against memory", zh="学习与内存"), "peak_memory"),
        _pareto(Text(en="Learning against the time of a step", zh="学习与每步用时"), "seconds_per_step"),
    ),
    guesses=(
        Guess(
            "parameters",
            "order",
            Text(
                en="Order the methods by the number of parameters they train, from the fewest (1) to the most (4).",
                zh="按训练的参数量从少（1）到多（4）给这些方法排序。",
            ),
            "trainable_parameters",
            (
                "method=lora",
                "method=bitfit",
                "method=ia3",
                "method=full",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=160),
        "standard": Preset(
            {"methods": list(METHODS), "rates": 3, "steps": 12, "prose_passages": 8},
            seeds=(0, 1, 2),
            expected_seconds=1400,
        ),
        "gpu": Preset(
            {"methods": list(METHODS), "rates": 3, "steps": 200, "prose_passages": 48},
            seeds=(0, 1, 2),
            expected_seconds=3600,
        ),
    },
    work=_work,
)
