"""A 4-bit student with an adapter, trained on labels or on its original's probabilities, against its original."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from labs.catalog.qad import TRAININGS, QadParameters, TextName, Training
from worker.adapters import Adapter, add_adapter
from worker.context import Point, RunContext
from worker.distillation import Comparison, compare, distillation_loss
from worker.quantisation import to_four_bit
from worker.training.config import usual_config
from worker.training.examples import Example, encode_pairs, encode_passages
from worker.training.loop import train
from worker.training.loss import answer_loss, evaluate
from worker.training.outcomes import Diverged

ORDER: tuple[Training, ...] = ("none", "labels", "distilled")  # later ones are compared with earlier ones


@dataclass(frozen=True)
class Study:
    """What all trainings share."""

    params: QadParameters
    lab: RunContext
    teacher: PreTrainedModel
    student: PreTrainedModel
    training: list[Example]
    texts: dict[TextName, list[Example]]  # held out

    def point(self, seed: int, training: Training, text: TextName) -> Point:
        return self.lab.point(seed=seed, training=training, text=text)


def run(params: QadParameters, lab: RunContext) -> None:
    points = [(seed, training) for seed in lab.seeds for training in ORDER]
    if all(lab.point(seed=seed, training=training).is_finished for seed, training in points):
        return
    tokenizer = lab.tokenizer(params.model)
    pairs, passages = encode_pairs(lab.data("docs"), tokenizer), encode_passages(lab.data("prose"), tokenizer)  # type: ignore[arg-type]
    texts: dict[TextName, list[Example]] = {
        "answers": pairs.validation,
        "prose": passages.validation[: params.passages],
    }
    student = to_four_bit(lab.model(params.model))
    study = Study(params, lab, lab.model(params.model), student, pairs.training, texts)
    log_untrained(study)
    for done, (seed, training) in enumerate(points):
        lab.progress(done, len(points), TRAININGS[training])
        with lab.point(seed=seed, training=training) as point:
            if not point.is_finished and training != "none":
                measure_training(study, point, training)
    lab.progress(len(points), len(points))


def log_untrained(study: Study) -> None:
    """Teacher and student before any training: the same for every seed, so computed once."""
    for text, examples in study.texts.items():
        points = [study.point(seed, "none", text) for seed in study.lab.seeds]
        if all(point.is_finished for point in points):
            continue
        of_teacher = evaluate(study.teacher, examples).loss
        found = compare(study.student, study.teacher, examples)
        for seed, point in zip(study.lab.seeds, points, strict=True):
            with study.lab.point(seed=seed, model="teacher", text=text) as original:
                if not original.is_finished:
                    original.log("text_loss", of_teacher)
            with point:
                if not point.is_finished:
                    log_comparison(study, point, text, found)


def measure_training(study: Study, point: Point, training: Training) -> None:
    """Train one adapter and compare; the student is as before when this returns. Divergence is a result like others."""
    params = study.params
    adapter = Adapter(params.rank, params.alpha, params.target_modules, point.seed)
    config = usual_config(params, point.seed)
    adapted = add_adapter(study.student, adapter)
    try:
        train(
            study.student,
            study.training,
            config,
            lambda step, loss: point.log("loss", loss, step=step),
            objective=distillation_loss(study.teacher) if training == "distilled" else answer_loss,
        )
        point.log("diverged", 0)
        for text in study.texts:
            log_text(study, point.seed, training, text)
    except Diverged:
        point.log("diverged", 1)
    finally:
        adapted.unload()


def log_text(study: Study, seed: int, training: Training, text: TextName) -> None:
    with study.point(seed, training, text) as point:
        if point.is_finished:
            return
        log_comparison(study, point, text, compare(study.student, study.teacher, study.texts[text]))
        untrained = study.point(seed, "none", text).value("kl")
        point.log("kl_removed", 100 * (1 - point.value("kl") / untrained))
        if training == "distilled" and study.lab.point(seed=seed, training="labels").value("diverged") == 0:
            of_labels = study.point(seed, "labels", text).value("text_loss")
            point.log("loss_above_labels", point.value("text_loss") - of_labels)


def log_comparison(study: Study, point: Point, text: TextName, found: Comparison) -> None:
    of_teacher = study.lab.point(seed=point.seed, model="teacher", text=text).value("text_loss")
    point.log("kl", found.divergence)
    point.log("text_loss", found.loss)
    point.log("loss_above_teacher", found.loss - of_teacher)
    point.log("tokens_judged", found.tokens)
