"""What does a quantised weight really take, counted from the tensors that bitsandbytes keeps?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, ModelName, Parameters, Preset, parameter
from labs.shared import different

Storage = Literal["nf4", "nf4-double", "fp4", "fp4-double", "int8"]


class QuantisationBitsParameters(Parameters):
    encoder: ModelName = parameter(
        "minilm-l6",
        Text(en="Encoder", zh="编码器"),
        Text(en="Its linear layers are stored: a small model.", zh="量化它的线性层：一个小模型。"),
    )
    model: ModelName = parameter(
        "smollm2-135m",
        Text(en="Language model", zh="语言模型"),
        Text(en="Its linear layers are stored too.", zh="同样量化它的线性层。"),
    )
    rows: Annotated[int, Field(ge=64, le=16_384)] = parameter(
        11_008,
        Text(en="Rows of the large layer", zh="大矩阵的行数"),
        Text(
            en="Outputs of one layer of random numbers; 11008 × 4096 is the up projection of a 7B LLaMA.",
            zh="一个随机数层的输出维度；11008 × 4096 就是 7B LLaMA 的 up 投影。",
        ),
    )
    columns: Annotated[int, Field(ge=64, le=16_384, multiple_of=64)] = parameter(
        4_096, Text(en="Columns of the large layer", zh="大矩阵的列数"), Text(en="Its inputs.", zh="它的输入维度。")
    )
    storages: list[Storage] = parameter(
        ["nf4", "nf4-double", "fp4", "fp4-double", "int8"],
        Text(en="Ways to store", zh="存储方式"),
        Text(
            en="4-bit formats in blocks of 64 with 32-bit constants, or doubly quantised; int8 with a constant a row.",
            zh="4 位格式，块大小 64，常数为 32 位或双重量化；int8 每行一个常数。",
        ),
        min_length=1,
        max_length=5,
    )

    _are_different = different("storages")


STORAGES = {
    "nf4": Text(en="NF4", zh="NF4"),
    "nf4-double": Text(en="NF4, double quantisation", zh="NF4，双重量化"),
    "fp4": Text(en="FP4", zh="FP4"),
    "fp4-double": Text(en="FP4, double quantisation", zh="FP4，双重量化"),
    "int8": Text(en="int8", zh="int8"),
}
PARTS = {
    "encoder": Text(en="encoder (all-MiniLM-L6-v2)", zh="编码器（all-MiniLM-L6-v2）"),
    "language": Text(en="language model (SmolLM2-135M)", zh="语言模型（SmolLM2-135M）"),
    "layer": Text(en="one layer of a 7B model's shape", zh="7B 模型形状的一层"),
}
TENSORS = {
    "codes": Text(en="codes", zh="编码"),
    "constants": Text(en="constants", zh="量化常数"),
    "tables": Text(en="tables of levels", zh="级别表"),
}
STORAGE = Text(en="storage", zh="存储方式")

LAB = Lab(
    slug="quantisation-bits",
    group="quantisation",
    version=1,
    title=Text(en="Bits a quantised weight takes", zh="一个量化权重占多少位"),
    question=Text(
        en="Does NF4 take 4 bits, 4.5 or 4.127, when every tensor that the library keeps is counted?",
        zh="把库里保存的每个张量都算上，NF4 到底是 4 位、4.5 位还是 4.127 位？",
    ),
    summary=Text(
        en="Stores all linear layers of two real models and one large layer of random numbers with bitsandbytes: NF4 "
        "and FP4 with and without double quantisation, and int8. It then adds up the bytes of what the library keeps: "
        "codes, constants, and the tables that say which number a code stands for, and puts the closed form beside "
        "them.",
        zh="用 bitsandbytes 存储两个真实模型的全部线性层和一个大的随机数层：NF4、FP4（带与不带双重量化）以及 int8。"
        "然后把库保存的张量逐个相加：编码、量化常数、以及编码对应数值的级别表，并与公式并列。",
    ),
    takeaway=Text(
        en="Sixteen codes are four bits, but a block's constant has to be stored as well: 32 bits for 64 weights make "
        "4.5, and double quantisation makes that 4.127 ([[claim:nf4-double-bits-7b-layer]]). FP4 costs the same "
        "([[claim:fp4-bits-7b-layer]]): the format decides about the error, not about the bytes. int8 in bitsandbytes "
        "has a constant a row only, so hardly more than eight bits ([[claim:int8-bits-counted]]). The closed form "
        "leaves out the tables, which vanish in a large layer.",
        zh="十六个编码正好四位，但每块的常数也要存：64 个权重共用 32 位，就是 4.5 位；双重量化后降到 4.127 位"
        "（[[claim:nf4-double-bits-7b-layer]]）。FP4 占用相同（[[claim:fp4-bits-7b-layer]]）："
        "格式影响的是误差，不是字节数。bitsandbytes 的 int8 每行只有一个常数，所以几乎就是八位"
        "（[[claim:int8-bits-counted]]）。公式没有算级别表，矩阵大了它可以忽略。",
    ),
    parameters=QuantisationBitsParameters,
    metrics=(
        Metric("bits_per_parameter", Text(en="Bits a parameter", zh="每个参数的位数"), "bits", False, "lower"),
        Metric("tensor_bits", Text(en="Of which in this kind of tensor", zh="其中这类张量所占"), "bits", False),
        Metric("formula_bits", Text(en="Bits a parameter, closed form", zh="每个参数的位数（公式）"), "bits", False),
        Metric("excess_bits", Text(en="Counted minus closed form", zh="统计值减公式值"), "bits", False),
        Metric("weights_counted", Text(en="Weights stored", zh="存储的权重个数"), "weights", False),
    ),
    charts=(
        Chart(
            "bits_per_parameter",
            Text(en="Bits a parameter, everything counted", zh="每个参数的位数（全部计入）"),
            x="storage",
            series="part",
            kind="bar",
            x_title=STORAGE,
            x_titles=STORAGES,
            series_titles=PARTS,
        ),
        Chart(
            "tensor_bits",
            Text(en="Where the bits go in a layer of a 7B model's shape", zh="7B 形状的一层里位数用在哪里"),
            x="storage",
            series="tensor",
            kind="bar",
            x_title=STORAGE,
            x_titles=STORAGES,
            series_titles=TENSORS,
            where={"part": "layer"},
        ),
        Chart(
            "excess_bits",
            Text(en="What the closed form leaves out", zh="公式没有算进去的部分"),
            x="storage",
            series="part",
            kind="bar",
            x_title=STORAGE,
            x_titles=STORAGES,
            series_titles=PARTS,
        ),
    ),
    guesses=(
        Guess(
            "constants",
            "value",
            Text(
                en="How many bits a weight do the constants of NF4 take once they are quantised themselves?",
                zh="双重量化之后，NF4 的量化常数平均每个权重占多少位？",
            ),
            "tensor_bits",
            ("part=layer,storage=nf4-double,tensor=constants",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=15),
        "standard": Preset({}, seeds=(0, 1, 2), expected_seconds=60),
        "gpu": Preset({"rows": 13_824, "columns": 5_120}, seeds=(0, 1, 2), expected_seconds=30),
    },
    # Numbers that are stored: 117 million weights of the two models, and the layer's.
    work=lambda params: len(params.storages) * (1.2e8 + params.rows * params.columns),
)
