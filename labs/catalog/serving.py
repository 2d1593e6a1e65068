"""What do adapters cost when a model serves?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import LanguageModel, Rank, TargetModules, different

Shape = Literal["1x16", "1x64", "1x256", "4x64", "8x64", "8x128"]


class ServingParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m", Text(en="The language model that is served.", zh="用来服务的语言模型。")
    )
    shapes: list[Shape] = parameter(
        ["1x16", "1x64", "4x64"],
        Text(en="Batch shapes", zh="批的形状"),
        Text(en="Sequences × tokens in a forward pass.", zh="一次前向的序列数 × token 数。"),
        min_length=1,
        max_length=6,
    )
    adapters: Annotated[int, Field(ge=2, le=16)] = parameter(
        4,
        Text(en="Adapters", zh="适配器数量"),
        Text(en="Loaded at the same time; rows of a mixed batch take turns.", zh="同时加载；混合批中的各行轮流使用。"),
    )
    rank: Rank = explained(8, Text(en="The rank r of the LoRA adapters.", zh="LoRA 适配器的秩 r。"))
    target_modules: TargetModules = explained(
        "all-linear",
        Text(
            en="The linear layers that get a LoRA adapter; all-linear means all but the output layer.",
            zh="加上 LoRA 适配器的线性层；all-linear 指除输出层以外的全部线性层。",
        ),
    )
    bottleneck: Annotated[int, Field(ge=1, le=1024)] = parameter(
        64,
        Text(en="Bottleneck", zh="瓶颈宽度"),
        Text(en="Inner width of the bottleneck adapters, two a block.", zh="瓶颈适配器的内部宽度，每个块两个。"),
    )
    prefix: Annotated[int, Field(ge=1, le=256)] = parameter(
        16,
        Text(en="Prefix", zh="前缀长度"),
        Text(en="Virtual tokens of prefix tuning.", zh="前缀微调的虚拟 token 数。"),
    )
    repeats: Annotated[int, Field(ge=1, le=200)] = parameter(
        9,
        Text(en="Repeats", zh="重复次数"),
        Text(en="Timed passes of each variant; the median counts.", zh="每种做法计时的次数，取中位数。"),
    )

    _are_different = different("shapes", noun="shape")


VARIANTS = {
    "base": Text(en="base", zh="基座"),
    "merged": Text(en="LoRA, merged", zh="LoRA，已合并"),
    "adapter": Text(en="LoRA, not merged", zh="LoRA，未合并"),
    "bottleneck": Text(en="bottleneck adapters", zh="瓶颈适配器"),
    "prefix": Text(en="prefix", zh="前缀"),
    "mixed": Text(en="several LoRA in one batch", zh="一批中有多个 LoRA"),
    "separate": Text(en="the same, one after the other", zh="同上，逐个适配器"),
}


def sizes(shape: str) -> tuple[int, int]:
    """Sequences and tokens."""
    rows, length = shape.split("x")
    return int(rows), int(length)


LAB = Lab(
    slug="serving",
    group="mechanics",
    version=1,
    title=Text(en="Serving with adapters", zh="带适配器的推理服务"),
    question=Text(
        en="How much slower is a pass with LoRA, bottleneck adapters or a prefix, how long does it take to switch "
        "adapters, and what does a batch with several adapters cost?",
        zh="带 LoRA、瓶颈适配器或前缀的一次前向慢多少？切换适配器要多久？一批里混用多个适配器代价多大？",
    ),
    summary=Text(
        en="Times forward passes of one model in all variants, which take turns so that a busy machine slows all "
        "alike, and reports medians and ratios to the base; a quiet machine is needed all the same. It also times "
        "switching, loading and merging, and checks that each row of a mixed batch gets what its adapter alone gives.",
        zh="对同一个模型的各种做法做前向计时，轮流进行，机器忙时各方受影响相同，报告中位数以及与基座之比；"
        "即便如此，仍需在空闲的机器上测。另外测切换、加载、合并的时间，并检查混合批中每一行的结果与单独使用其适配器时相同。",
    ),
    takeaway=Text(
        en="Only merging is free; everything that stays in the graph costs time. Per layer, LoRA adds two thin matrix "
        "products and bottleneck adapters two more in sequence; few FLOPs, but many small kernels. At one short "
        "sequence bottleneck adapters take [[claim:bottleneck-latency-measured]] the base's time here: slower, but "
        "by how much five seeds leave open. A short prefix takes [[claim:prefix-latency-measured]], which they cannot "
        "tell from the base. Several adapters in one batch give each row the same as its adapter alone "
        "([[claim:mixed-batch-is-exact]]), at [[claim:mixed-batch-cost]] the time of one adapter; dedicated kernels "
        "exist to lower this. Switching in PEFT takes [[claim:switch-in-peft]]: it walks over "
        "every layer, so copying is not what it waits for.",
        zh="只有合并是免费的，留在计算图里的都要花时间。LoRA 在每层多做两次很窄的矩阵乘法，"
        "瓶颈适配器还要串行地再做两次：FLOPs 不多，但小算子很多。"
        "单条短序列时，瓶颈适配器耗时是基座的 [[claim:bottleneck-latency-measured]]：确实更慢，"
        "慢多少，五个种子还定不下来。"
        "短前缀是 [[claim:prefix-latency-measured]]，五个种子无法把它与基座区分。"
        "一批里混用多个适配器，每行结果与单独使用时相同"
        "（[[claim:mixed-batch-is-exact]]），耗时是单个适配器的 [[claim:mixed-batch-cost]]；专用算子就是为降低它而生。"
        "在 PEFT 里切换要 [[claim:switch-in-peft]]：时间花在遍历每一层，而不是拷贝。",
    ),
    parameters=ServingParameters,
    metrics=(
        Metric("latency", Text(en="Median time of a forward pass", zh="一次前向用时的中位数"), "ms", better="lower"),
        Metric("latency_ratio", Text(en="Time relative to the base", zh="相对基座的用时"), "×", better="lower"),
        Metric(
            "adapter_ratio",
            Text(en="Time relative to one LoRA adapter for the whole batch", zh="相对整批只用一个 LoRA 的用时"),
            "×",
            better="lower",
        ),
        Metric(
            "mixed_difference",
            Text(en="Largest logit difference to each adapter alone, relative", zh="与单独使用时 logit 的最大相对差"),
            "×",
            better="lower",
        ),
        Metric(
            "switch_time", Text(en="Switching to a loaded adapter", zh="切换到已加载的适配器"), "ms", better="lower"
        ),
        Metric("load_time", Text(en="Loading an adapter from its file", zh="从文件加载适配器"), "ms", better="lower"),
        Metric("merge_time", Text(en="Merging an adapter", zh="合并适配器"), "ms", better="lower"),
        Metric("unmerge_time", Text(en="Taking it out again", zh="取消合并"), "ms", better="lower"),
        Metric(
            "extra_parameters",
            Text(en="Parameters beside the base", zh="基座之外的参数量"),
            "parameters",
            stochastic=False,
        ),
    ),
    charts=(
        Chart(
            "latency_ratio",
            Text(en="Time of a forward pass relative to the base", zh="一次前向相对基座的用时"),
            x="shape",
            series="variant",
            kind="bar",
            x_title=Text(en="sequences × tokens", zh="序列数 × token 数"),
            series_titles=VARIANTS,
        ),
    ),
    guesses=(
        Guess(
            "order",
            "order",
            Text(
                en="Order the variants by the time of a forward pass of 1 × 64 tokens, from the fastest (1) to the "
                "slowest (3).",
                zh="按 1 × 64 个 token 的前向耗时从快（1）到慢（3）给各种做法排序。",
            ),
            "latency",
            (
                "shape=1x64,variant=merged",
                "shape=1x64,variant=adapter",
                "shape=1x64,variant=bottleneck",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=80),
        "standard": Preset(
            {"shapes": ["1x16", "1x64", "1x256", "4x64", "8x64"], "repeats": 11},
            seeds=(0, 1, 2, 3, 4),
            expected_seconds=1200,
        ),
        "gpu": Preset(
            {"shapes": ["1x16", "1x64", "1x256", "4x64", "8x64", "8x128"], "repeats": 50},
            seeds=(0, 1, 2),
            expected_seconds=300,
        ),
    },
    work=lambda params: params.repeats * sum(rows * length for rows, length in map(sizes, params.shapes)),
)
