"""Every method of fine-tuning on the same data, each at its own best learning rate."""

import statistics
from dataclasses import dataclass

from peft import get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.peft_zoo import METHODS, MethodName, PeftZooParameters
from worker.context import Point, RunContext
from worker.methods.setting import Attached, Setting
from worker.methods.table import ATTACH
from worker.training.config import TrainingConfig
from worker.training.examples import Example, encode_facts, encode_passages
from worker.training.loop import train
from worker.training.loss import evaluate
from worker.training.memory import PeakMemory
from worker.training.outcomes import Diverged

WARMUP_STEPS = 2
FIRST_STEPS = 2  # are slower than the others: allocations and caches
MEMORY_STEPS = 2  # the second one has the optimizer's states
MEMORY_RATE = 1e-6  # too small to diverge; bytes do not depend on it


@dataclass(frozen=True)
class Data:
    """What all methods are trained and judged on."""

    training: list[Example]
    choosing: list[Example]  # held-out phrasings that the learning rate is chosen by
    validation: list[Example]  # and those that are reported
    prose: list[Example]


@dataclass(frozen=True)
class Outcome:
    """What a training came to."""

    choice_loss: float
    loss: float
    prose_loss: float
    seconds: float


def run(params: PeftZooParameters, lab: RunContext) -> None:
    study = Study(params, lab)
    # LoRA first, because the others are compared with it.
    methods = sorted(params.methods, key=lambda name: (name != "lora", list(METHODS).index(name)))
    total = len(methods) * len(lab.seeds)
    for i, name in enumerate(methods):
        for j, seed in enumerate(lab.seeds):
            lab.progress(i * len(lab.seeds) + j, total, METHODS[name].title)
            with lab.point(seed=seed, method=name) as point:
                if not point.is_finished:
                    study.measure(point, name)
    lab.progress(total, total)


class Study:
    """The data and the base's losses, made when first needed, and what is measured of each method."""

    def __init__(self, params: PeftZooParameters, lab: RunContext) -> None:
        self.params = params
        self.lab = lab
        self.first_seed = lab.seeds[0]
        self.data = load_data(params, lab)
        self.base_prose_loss = self.measure_base()

    def measure_base(self) -> float:
        with self.lab.point(seed=self.first_seed) as point:
            if not point.is_finished:
                model = self.lab.model(self.params.model)
                point.log("base_validation_loss", evaluate(model, self.data.validation).loss)
                point.log("base_prose_loss", evaluate(model, self.data.prose).loss)
        return point.value("base_prose_loss")

    def measure(self, point: Point, name: MethodName) -> None:
        """One method and seed: the first seed looks for the rate, and measures what no other seed would change."""
        if point.seed == self.first_seed:
            fitted = Fitted(self, name, point.seed)
            self.search(point, fitted)
            fitted.log_sizes(point)
        elif (rate := self.chosen_rate(name)) is not None:
            self.log_outcome(point, Fitted(self, name, point.seed).train(point, rate))
        else:
            point.log("diverged", 1)

    def search(self, point: Point, fitted: "Fitted") -> None:
        """Every rate of the grid from the same start; the best is the method's."""
        rates = grid(fitted.name, self.params.rates)
        for rate in rates:
            with self.lab.point(seed=point.seed, method=fitted.name, rate=rate) as tried:
                if not tried.is_finished:
                    log_try(tried, fitted.train(tried, rate), self.base_prose_loss)
        tries = {rate: self.lab.point(seed=point.seed, method=fitted.name, rate=rate) for rate in rates}
        losses = {rate: tried.value("choice_loss") for rate, tried in tries.items() if not tried.value("rate_diverged")}
        if not losses:
            point.log("diverged", 1)
            return
        best = min(losses, key=losses.__getitem__)
        point.log("rate", best)
        if len(rates) == len(METHODS[fitted.name].rates):  # fewer have no inside
            point.log("at_grid_edge", best in (min(rates), max(rates)))
        self.log_result(
            point,
            loss=tries[best].value("rate_loss"),
            prose_change=tries[best].value("rate_prose_change"),
            seconds=tries[best].value("rate_seconds"),
        )

    def chosen_rate(self, name: MethodName) -> float | None:
        """The first seed's, or None where every rate diverged."""
        first = self.lab.point(seed=self.first_seed, method=name)
        return None if first.value("diverged") else first.value("rate")

    def log_outcome(self, point: Point, outcome: Outcome | None) -> None:
        if outcome is None:
            point.log("diverged", 1)
            return
        change = outcome.prose_loss - self.base_prose_loss
        self.log_result(point, loss=outcome.loss, prose_change=change, seconds=outcome.seconds)

    def log_result(self, point: Point, *, loss: float, prose_change: float, seconds: float) -> None:
        """The numbers of a method that was trained, and how they differ from LoRA's with the same seed."""
        point.log("diverged", 0)
        point.log("validation_loss", loss)
        point.log("prose_change", prose_change)
        point.log("seconds_per_step", seconds)
        lora = self.lab.point(seed=point.seed, method="lora")
        if lora.is_finished and not lora.value("diverged"):
            point.log("gain_over_lora", lora.value("validation_loss") - loss)
            point.log("forgetting_over_lora", prose_change - lora.value("prose_change"))


def load_data(params: PeftZooParameters, lab: RunContext) -> Data:
    tokenizer = lab.tokenizer(params.model)
    facts = encode_facts(lab.data("facts"), tokenizer)
    prose = encode_passages(lab.data("prose"), tokenizer)  # type: ignore[arg-type]
    # By turns, because facts of one kind stand together.
    return Data(
        facts.training, facts.validation[::2], facts.validation[1::2], prose.validation[: params.prose_passages]
    )


def grid(name: MethodName, count: int) -> list[float]:
    """So many of the method's rates: the middle one, the lower, the higher."""
    low, middle, high = METHODS[name].rates
    return [middle, low, high][:count]


def log_try(point: Point, outcome: Outcome | None, base_prose_loss: float) -> None:
    point.log("rate_diverged", outcome is None)
    if outcome:
        point.log("choice_loss", outcome.choice_loss)
        point.log("rate_loss", outcome.loss)
        point.log("rate_prose_change", outcome.prose_loss - base_prose_loss)
        point.log("rate_seconds", outcome.seconds)


class Fitted:
    """A method in a fresh model, to be trained several times from the same start."""

    def __init__(self, study: Study, name: MethodName, seed: int) -> None:
        self.name = name
        self.seed = seed
        self.params = study.params
        self.data = study.data
        self.model = study.lab.model(study.params.model)
        setting = Setting(study.params.rank, study.params.alpha, study.params.steps, seed, study.data.training)
        self.attached = ATTACH[name](self.model, setting)
        self.start = {name: p.detach().clone() for name, p in self.model.named_parameters() if p.requires_grad}

    def train(self, point: Point, rate: float) -> Outcome | None:
        """None where the training diverged."""
        self.put_back()
        try:
            result = train(
                self.model,
                self.data.training,
                self.config(rate, self.params.steps),
                lambda step, loss: point.log("loss", loss, step=step),
                objective=self.attached.objective,
                after_update=self.attached.after_update,
            )
        except Diverged:
            return None
        return Outcome(
            choice_loss=evaluate(self.model, self.data.choosing).loss,
            loss=evaluate(self.model, self.data.validation).loss,
            prose_loss=evaluate(self.model, self.data.prose).loss,
            seconds=statistics.median(result.seconds[FIRST_STEPS:]),
        )

    def put_back(self) -> None:
        """The method as it started, without gradients that a diverged training left."""
        for name, parameter in self.model.named_parameters():
            if name in self.start:
                parameter.data.copy_(self.start[name])
                parameter.grad = None
        self.attached.reset()

    def config(self, rate: float, steps: int) -> TrainingConfig:
        return TrainingConfig(
            steps=steps,
            batch_size=self.params.batch_size,
            learning_rate=rate,
            seed=self.seed,
            warmup_steps=WARMUP_STEPS,
            lora_plus_ratio=self.attached.lora_plus_ratio,
        )

    def log_sizes(self, point: Point) -> None:
        point.log("trainable_parameters", sum(start.numel() for start in self.start.values()))
        point.log("adapter_bytes", len(save(saved_tensors(self.model, self.attached), metadata={"format": "pt"})))
        point.log("peak_memory", self.peak_memory() / 1e6)

    def peak_memory(self) -> int:
        """Bytes alive at once in a step, on a batch of the longest examples, so that it is the same for all."""
        self.put_back()
        longest = sorted(self.data.training, key=lambda example: len(example.tokens))[-self.params.batch_size :]
        with PeakMemory((*self.model.parameters(), *self.model.buffers())) as memory:
            train(
                self.model,
                longest,
                self.config(MEMORY_RATE, MEMORY_STEPS),
                objective=self.attached.objective,
                after_update=self.attached.after_update,
            )
        return memory.peak


def saved_tensors(model: PreTrainedModel, attached: Attached) -> dict[str, Tensor]:
    """What is stored of a method: the adapter as PEFT writes it, or every trained tensor."""
    if attached.adapted:
        state: dict[str, Tensor] = get_peft_model_state_dict(attached.adapted, save_embedding_layers=False)
    else:
        state = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return {name: tensor.detach().contiguous() for name, tensor in state.items()}
