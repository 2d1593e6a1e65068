"""How much memory does a real training step take, method by method, and does the simulation say the same?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.catalog.memory_simulator import CATEGORIES, CATEGORY, gib
from labs.catalog.peft_zoo import METHODS, TITLES, MethodName
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import LanguageModel, Rank, different

ProfiledMethod = Literal[MethodName, "qlora"]
PROFILED: dict[str, Text] = {**TITLES, "qlora": Text(en="QLoRA", zh="QLoRA")}
QUICK: list[ProfiledMethod] = ["full", "lora", "qlora"]


class MemoryProfileParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m",
        Text(
            en="Trained for two steps in float32, or with NF4 weights for qlora.",
            zh="训练两步，float32；qlora 用 NF4 权重。",
        ),
    )
    methods: list[ProfiledMethod] = parameter(
        QUICK,
        Text(en="Methods", zh="方法"),
        Text(en="Each is simulated and really run.", zh="每种方法都先模拟，再真跑。"),
        min_length=1,
        max_length=len(PROFILED),
    )
    rank: Rank = 8
    batch_size: Annotated[int, Field(ge=1, le=16)] = parameter(
        1, Text(en="Batch size", zh="批大小"), Text(en="Rows in the step.", zh="一步的行数。")
    )
    sequence_length: Annotated[int, Field(ge=8, le=1024)] = parameter(
        128, Text(en="Sequence length", zh="序列长度"), Text(en="Tokens in a row.", zh="每行的 token 数。")
    )
    checkpointing: Literal["none", "reentrant", "non-reentrant"] = parameter(
        "none",
        Text(en="Gradient checkpointing", zh="梯度检查点"),
        Text(en="The same for all methods.", zh="各方法相同。"),
    )

    _are_different = different("methods", noun="method")


METHOD = Text(en="method", zh="方法")


def work(params: MemoryProfileParameters) -> float:
    return len(params.methods) * (params.batch_size * params.sequence_length + 64)


LAB = Lab(
    slug="memory-profile",
    group="memory",
    version=1,
    title=Text(en="Memory of a training step, measured", zh="训练一步的内存（实测）"),
    question=Text(
        en="Where does the memory of a real training step go, how does it differ between methods, and does a "
        "simulation without weights get it right?",
        zh="真实训练一步的内存花在哪里？各方法差在哪里？不用权重的模拟算得准吗？",
    ),
    summary=Text(
        en="Trains a real model for two steps with each method on the CPU and follows every tensor's storage from "
        "birth to death, which is exact where the memory of the whole process would not be. The second step is told: "
        "its peak, what the peak consists of, and its course. Beside it stands what the memory simulator says of the "
        "same step, and the difference.",
        zh="用每种方法在 CPU 上真实训练两步，跟踪每个张量的存储从产生到释放；这样是精确的，看进程内存则不是。"
        "报告第二步：峰值、峰值的构成和全过程；旁边列出显存模拟器对同一步的结果，以及两者之差。",
    ),
    takeaway=Text(
        en="The trained parameters decide gradients and optimizer states and nothing else: LoRA takes these "
        "two away, "
        "and the weights and activations stay ([[claim:lora-step-a-third-measured]]). That is why methods with a "
        "hundred times fewer parameters than LoRA save hardly any memory over it, and some that rewrite "
        "the weight in "
        "each layer (DoRA, LoHa, LoKr) need more. A simulation from shapes alone gives the same bytes as "
        "the real step "
        "([[claim:simulated-memory-agrees]]), so a recipe can be checked before a GPU is rented.",
        zh="训练的参数量只决定梯度和优化器状态：LoRA 省的就是这两样，权重和激活还在"
        "（[[claim:lora-step-a-third-measured]]）。所以参数比 LoRA 少一百倍的方法，内存几乎不比它省；"
        "在每一层重新合成权重的方法（DoRA、LoHa、LoKr）反而更多。只凭形状做的模拟与真实一步的字节数一致"
        "（[[claim:simulated-memory-agrees]]），所以租 GPU 之前就能先算清楚。",
    ),
    parameters=MemoryProfileParameters,
    metrics=(
        gib("peak", Text(en="Measured peak", zh="实测峰值")),
        gib("simulated_peak", Text(en="Simulated peak", zh="模拟峰值")),
        Metric(
            "difference",
            Text(en="Simulated against measured", zh="模拟与实测之差"),
            "%",
            stochastic=False,
        ),
        Metric(
            "largest_difference",
            Text(en="Largest difference of all methods, without sign", zh="各方法中最大的差（不计符号）"),
            "%",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "ratio_to_full",
            Text(en="Peak over that of full fine-tuning", zh="峰值与全量微调之比"),
            "×",
            stochastic=False,
            better="lower",
        ),
        gib("steady", Text(en="Between steps", zh="两步之间")),
        gib("at_peak", Text(en="Part of the peak", zh="峰值的构成")),
        gib("alive", Text(en="Alive in the course of a step", zh="一步之中的占用")),
        Metric("trainable", Text(en="Trained parameters", zh="训练的参数"), "parameters", stochastic=False),
    ),
    charts=(
        Chart(
            "peak",
            Text(en="Measured peak of a step", zh="一步的实测峰值"),
            x="method",
            kind="bar",
            x_title=METHOD,
            x_titles=PROFILED,
        ),
        Chart(
            "at_peak",
            Text(en="What the peak consists of", zh="峰值的构成"),
            x="category",
            series="method",
            kind="bar",
            x_title=CATEGORY,
            x_titles=CATEGORIES,
            series_titles=PROFILED,
        ),
    ),
    guesses=(
        Guess(
            "ratio",
            "value",
            Text(
                en="How high is LoRA's peak, as a multiple of that of full fine-tuning?",
                zh="LoRA 的峰值是全量微调的多少倍？",
            ),
            "ratio_to_full",
            ("against=full,method=lora",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=25),
        "standard": Preset({"methods": [*METHODS, "qlora"]}, seeds=(0, 1, 2), expected_seconds=600),
        "gpu": Preset(
            {"methods": [*METHODS, "qlora"], "sequence_length": 512, "batch_size": 4}, seeds=(0,), expected_seconds=1800
        ),
    },
    work=work,
)
