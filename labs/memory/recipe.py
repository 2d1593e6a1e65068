"""What decides how much memory a training step takes: model, method, number formats, and how the step is run."""

from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from kb.text import Text
from labs.catalog.peft_zoo import MethodName
from labs.declaration import Parameters, parameter
from labs.memory.architectures import MAX_TEXT, architecture, parse, positions, shape
from labs.shared import TargetModules

ArchitectureName = Literal[
    "smollm2-135m",
    "llama-7b",
    "llama-13b",
    "llama-33b",
    "llama-65b",
    "llama-2-7b",
    "llama-2-13b",
    "llama-2-70b",
    "llama-3-8b",
    "llama-3.1-8b",
    "llama-3.1-70b",
    "llama-3.1-405b",
    "llama-3.2-1b",
    "llama-3.2-3b",
    "mistral-7b",
    "mixtral-8x7b",
    "qwen2.5-0.5b",
    "qwen2.5-1.5b",
    "qwen2.5-3b",
    "qwen2.5-7b",
    "qwen2.5-14b",
    "qwen2.5-32b",
    "qwen2.5-72b",
    "gemma-2-2b",
    "gemma-2-9b",
    "gpt2",
    "gpt2-medium",
    "gpt2-large",
    "gpt2-xl",
    "gpt-3-175b",
]
# QLoRA is LoRA on 4-bit weights: a name for it, which validation turns into method and weights.
RecipeMethod = Literal[MethodName, "qlora"]
Weights = Literal["float32", "bfloat16", "float16", "int8", "nf4", "fp4"]
AdapterDtype = Literal["float32", "base"]
Checkpointing = Literal["none", "reentrant", "non-reentrant"]
Attention = Literal["eager", "sdpa", "flash"]
Loss = Literal["full", "chunked", "fused"]
Optimizer = Literal["adamw", "adamw-fused", "sgd", "adafactor", "adamw-8bit", "paged-adamw-8bit"]
Sharding = Literal["none", "ddp", "zero-1", "zero-2", "zero-3"]

QUANTISED: tuple[Weights, ...] = ("int8", "nf4", "fp4")
FOUR_BIT: tuple[Weights, ...] = ("nf4", "fp4")
# What a step with them needs is what LoRA needs: only their start differs.
LORA_STARTS: tuple[MethodName, ...] = ("lora", "rslora", "pissa", "olora", "eva", "loftq", "lora-plus", "lora-ga")
# PEFT puts these on layers of 8 or 4 bits; the other starts read unquantised weights.
ON_QUANTISED: tuple[MethodName, ...] = (
    *("lora", "rslora", "dora", "lora-fa", "lora-plus", "adalora", "ia3", "vera", "prefix", "prompt", "p-tuning"),
)
WITH_TARGETS: tuple[MethodName, ...] = (*LORA_STARTS, "dora", "lora-fa")
# Methods whose trained numbers meet the layers' own outside PEFT's layers, which would cast them.
IN_FLOAT32: tuple[MethodName, ...] = ("prompt", "p-tuning")
# PEFT's layer for quantised weights does not cast back, its plain one does.
IN_FLOAT32_ON_QUANTISED: tuple[MethodName, ...] = (*IN_FLOAT32, "ia3")
MAX_TOKENS = 2**20  # of a micro-batch: above it byte counts say nothing that anybody could run
# Families whose layers have the names that IA³ and lists of target modules ask for.
PLAIN_FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2")
ON_GPT2: tuple[MethodName, ...] = (*LORA_STARTS, "dora", "lora-fa", "adalora", "prompt", "p-tuning", "full")


class Recipe(Parameters):
    """A training step as it would be run. One validator says which choices do not go together."""

    model: ArchitectureName = parameter(
        "llama-2-7b",
        Text(en="Model", zh="模型"),
        Text(
            en="The shape of the model; weights are not needed.",
            zh="模型的形状；不需要权重。",
        ),
    )
    config: Annotated[str, Field(max_length=MAX_TEXT)] = parameter(
        "",
        Text(en="Own config.json", zh="自己的 config.json"),
        Text(
            en="The text of a Hugging Face config.json, used instead of the model above. Usually empty.",
            zh="一个 Hugging Face config.json 的内容，用来代替上面的模型。通常留空。",
        ),
    )
    method: RecipeMethod = parameter(
        "lora",
        Text(en="Method", zh="方法"),
        Text(
            en="How it is fine-tuned. qlora is LoRA on NF4 weights with double quantisation.",
            zh="微调方法。qlora 就是在 NF4 权重（带双重量化）上做 LoRA。",
        ),
    )
    rank: Annotated[int, Field(ge=1, le=512)] = parameter(
        16,
        Text(en="Rank", zh="秩"),
        Text(
            en="Of LoRA and its kin; the sizes of AdaLoRA, LoHa, VeRA and bottleneck adapters follow from it.",
            zh="LoRA 一族的秩；AdaLoRA、LoHa、VeRA 和瓶颈适配器的大小由它决定。",
        ),
    )
    target_modules: TargetModules = "all-linear"
    weights: Weights = parameter(
        "bfloat16",
        Text(en="Base weights", zh="基座权重"),
        Text(
            en="How the model's weights are stored. int8, nf4 and fp4 quantise the linear layers of the blocks; the "
            "rest is bfloat16 then.",
            zh="模型权重的存储格式。int8、nf4、fp4 只量化各层中的线性层，其余部分用 bfloat16。",
        ),
    )
    double_quantisation: bool = parameter(
        True,
        Text(en="Double quantisation", zh="双重量化"),
        Text(en="Of 4-bit weights: their scales are stored in 8 bits.", zh="仅用于 4 位权重：缩放因子也用 8 位存储。"),
    )
    upcast: bool = parameter(
        False,
        Text(en="Upcast the rest to float32", zh="其余部分升为 float32"),
        Text(
            en="What PEFT's prepare_model_for_kbit_training does to 16-bit parameters that are not quantised: "
            "embeddings, norms and the output layer.",
            zh="即 PEFT 的 prepare_model_for_kbit_training：把没有量化的 16 位参数"
            "（嵌入、归一化层、输出层）升为 float32。",
        ),
    )
    adapter_dtype: AdapterDtype = parameter(
        "float32",
        Text(en="Adapter format", zh="适配器格式"),
        Text(
            en="What the adapter is trained in. float32 is PEFT's default; base is the format of the base model.",
            zh="适配器训练时的格式。PEFT 默认 float32；base 表示与基座模型相同。",
        ),
    )
    autocast: bool = parameter(
        False,
        Text(en="Autocast", zh="自动混合精度"),
        Text(
            en="Compute in bfloat16 under torch.autocast, whatever the weights are stored in.",
            zh="用 torch.autocast 以 bfloat16 计算，不管权重用什么格式存储。",
        ),
    )
    checkpointing: Checkpointing = parameter(
        "none",
        Text(en="Gradient checkpointing", zh="梯度检查点"),
        Text(
            en="Keep only the input of each block and compute the rest again in the backward pass.",
            zh="每一层只保存输入，反向传播时重新计算其余激活。",
        ),
    )
    attention: Attention = parameter(
        "sdpa",
        Text(en="Attention", zh="注意力实现"),
        Text(
            en="eager keeps the attention matrix; sdpa is PyTorch's fused attention; flash is the flash-attn package.",
            zh="eager 会保存整个注意力矩阵；sdpa 是 PyTorch 的融合注意力；flash 是 flash-attn 软件包。",
        ),
    )
    loss: Loss = parameter(
        "full",
        Text(en="Loss", zh="损失"),
        Text(
            en="full computes all logits at once, as transformers does; chunked computes them again in parts of 1024 "
            "tokens; fused computes their gradient with them and keeps none.",
            zh="full 像 transformers 那样一次算出全部 logits；chunked 每次算 1024 个 token，反向时重算；"
            "fused 边算 logits 边算梯度，一个都不保存。",
        ),
    )
    optimizer: Optimizer = parameter(
        "adamw",
        Text(en="Optimizer", zh="优化器"),
        Text(
            en="adamw is PyTorch's default, which on a GPU works on all parameters at once; adamw-fused needs no "
            "temporaries. The 8-bit ones are those of bitsandbytes; paged keeps its states in the host's memory.",
            zh="adamw 是 PyTorch 的默认实现，在 GPU 上一次处理全部参数；adamw-fused 不需要临时张量。"
            "8 位优化器来自 bitsandbytes；paged 把状态放在主机内存中。",
        ),
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] = parameter(
        1, Text(en="Micro-batch", zh="微批大小"), Text(en="Rows in one forward pass.", zh="一次前向传播的行数。")
    )
    sequence_length: Annotated[int, Field(ge=2, le=131_072)] = parameter(
        512, Text(en="Sequence length", zh="序列长度"), Text(en="Tokens in a row.", zh="每行的 token 数。")
    )
    accumulation: Annotated[int, Field(ge=1, le=1024)] = parameter(
        1,
        Text(en="Gradient accumulation", zh="梯度累积"),
        Text(en="Micro-batches in one optimizer step.", zh="一次优化器更新包含的微批数。"),
    )
    sharding: Sharding = parameter(
        "none",
        Text(en="Sharding", zh="切分"),
        Text(
            en="What several devices share: ddp nothing, zero-1 optimizer states, zero-2 gradients too, zero-3 (FSDP) "
            "parameters too.",
            zh="多张卡之间切分什么：ddp 不切分，zero-1 切分优化器状态，zero-2 再切分梯度，zero-3（FSDP）再切分参数。",
        ),
    )
    devices: Annotated[int, Field(ge=1, le=4096)] = parameter(
        1, Text(en="Devices", zh="设备数"), Text(en="Above one only with sharding.", zh="大于 1 时须选择切分方式。")
    )
    exact: bool = parameter(
        False,
        Text(en="Simulate every block", zh="逐层模拟"),
        Text(
            en="Instead of a few blocks whose increments are checked to be equal. The bytes are the same; it takes "
            "longer.",
            zh="默认只模拟几层，并核对每层的增量相等，再推算到全部层。逐层模拟结果的字节数相同，只是更慢。",
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _spell_out_qlora(cls, raw: Any) -> Any:
        """The same question gets the same parameters, whichever name it was asked by."""
        if isinstance(raw, dict) and raw.get("method") == "qlora":
            if raw.get("weights", "nf4") not in FOUR_BIT:
                raise ValueError("method qlora needs weights nf4 or fp4; leave weights out for nf4")
            return {"weights": "nf4", **raw, "method": "lora"}
        return raw

    @field_validator("config")
    @classmethod
    def _is_a_configuration(cls, config: str) -> str:
        text = config.strip()
        if text:
            parse(text)
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        for is_wrong, message in self._contradictions() + self._misfits():
            if is_wrong:
                raise ValueError(message)
        return self

    def _contradictions(self) -> list[tuple[bool, str]]:
        is_quantised = self.weights in QUANTISED
        has_16_bits = self.weights != "float32" or self.autocast
        return [
            (
                self.tokens > MAX_TOKENS,
                f"batch_size × sequence_length = {self.tokens} tokens; at most {MAX_TOKENS} are allowed",
            ),
            (
                is_quantised and self.method not in ON_QUANTISED,
                f"method {self.method} does not work on {self.weights} weights; {', '.join(ON_QUANTISED)} do",
            ),
            (self.upcast and not is_quantised, "upcast belongs to quantised weights: int8, nf4 or fp4"),
            (
                self.autocast and self.weights == "float16",
                "autocast computes in bfloat16; with float16 weights leave it off",
            ),
            (
                self.attention == "flash" and not has_16_bits,
                "attention flash computes in 16 bits: choose weights of at most 16 bits, or autocast",
            ),
            (
                self.target_modules != "all-linear" and self.method not in WITH_TARGETS,
                f"target_modules can be chosen for {', '.join(WITH_TARGETS)}; {self.method} has its own",
            ),
            (
                self.method in (IN_FLOAT32_ON_QUANTISED if is_quantised else IN_FLOAT32)
                and self.weights != "float32"
                and self.adapter_dtype != "base"
                and not self.autocast,
                f"{self.method} in float32 does not go with 16-bit layers: choose adapter_dtype base or autocast",
            ),
            (self.sharding == "none" and self.devices > 1, "several devices need a sharding: ddp or zero-1 to zero-3"),
            (self.sharding != "none" and self.devices == 1, f"sharding {self.sharding} needs at least 2 devices"),
        ]

    def _misfits(self) -> list[tuple[bool, str]]:
        """What this family of models does not allow."""
        family = self.configuration["model_type"]
        longest = positions(self.configuration)
        is_plain = family in PLAIN_FAMILIES
        return [
            (
                family == "gpt2" and self.sequence_length > longest,
                f"sequence_length = {self.sequence_length}: this model has learned positions for {longest} tokens",
            ),
            (
                family == "gpt2" and self.method not in ON_GPT2,
                f"method {self.method} does not know GPT-2's layers; {', '.join(ON_GPT2)} do",
            ),
            (self.method == "ia3" and not is_plain, f"method ia3 does not know the layers of {family}"),
            (
                self.target_modules != "all-linear" and not is_plain,
                f"the layers of {family} have other names: choose target_modules all-linear",
            ),
            (
                family == "gemma2" and self.attention == "sdpa",
                "Gemma 2 caps its attention scores, which sdpa cannot: choose attention eager or flash",
            ),
            (
                family == "mixtral" and self.weights in QUANTISED,
                "bitsandbytes does not quantise Mixtral's experts, which are no linear layers in transformers",
            ),
            (
                family == "mixtral" and self.method == "bottleneck",
                "method bottleneck does not know Mixtral's experts",
            ),
        ]

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The checked configuration of the model."""
        return parse(self.config) if self.config else architecture(self.model)

    @property
    def layers(self) -> int:
        return shape(self.configuration).layers

    @property
    def tokens(self) -> int:
        """Of a micro-batch."""
        return self.batch_size * self.sequence_length


ARCHITECTURES: tuple[str, ...] = get_args(ArchitectureName)
