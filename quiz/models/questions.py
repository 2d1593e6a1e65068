"""Questions with their follow-ups and rubrics."""

from collections.abc import Iterable

from django.db import models
from django.urls import reverse

from kb.fields import OrderedJSONField
from kb.history import ItemHistory
from kb.models import Point, Status, Topic
from labs.models import Claim


def markdown_list(texts: Iterable[str]) -> str:
    return "\n".join("- " + text.replace("\n", "\n    ") for text in texts)


class Question(models.Model):
    """A question or, with a parent, a follow-up. Prompt, short, answer, mistakes are Markdown."""

    OPEN, SINGLE, MULTI, NUMERIC = "open", "single", "multi", "numeric"
    PARAMETRIC, ORDER, CLOZE = "parametric", "order", "cloze"
    KINDS = [(kind, kind) for kind in (OPEN, SINGLE, MULTI, NUMERIC, PARAMETRIC, ORDER, CLOZE)]

    slug = models.SlugField(max_length=80, unique=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="follow_ups")
    # The question at the root of the tree; None for a question that is one itself.
    root = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="descendants")
    topic = models.ForeignKey(Topic, models.PROTECT, related_name="questions")
    kind = models.CharField(max_length=20, choices=KINDS, default=OPEN)
    difficulty = models.PositiveSmallIntegerField()
    position = models.PositiveIntegerField(default=0)
    prompt_en = models.TextField(blank=True)
    prompt_zh = models.TextField(blank=True)
    short_en = models.TextField(blank=True)
    short_zh = models.TextField(blank=True)
    answer_en = models.TextField(blank=True)
    answer_zh = models.TextField(blank=True)
    mistakes = models.JSONField(default=list, blank=True)  # common mistakes, each {"en": …, "zh": …}
    when_en = models.TextField(blank=True)  # what in the answer triggers this follow-up
    when_zh = models.TextField(blank=True)
    # What a graded kind needs besides choices, as in its file: steps, cloze, draw, let, result, value, unit, slips …
    spec = OrderedJSONField(default=dict, blank=True)
    covers = models.JSONField(default=list, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.PUBLISHED)  # a follow-up has its root's
    points = models.ManyToManyField(Point, related_name="questions", blank=True)
    claims = models.ManyToManyField(Claim, related_name="questions", blank=True)  # those that its texts show

    history = ItemHistory()

    class Meta:
        ordering = ["topic__position", "position", "slug"]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        return reverse("quiz-question", args=[self.slug])

    @property
    def mistakes_en(self) -> str:
        return markdown_list(mistake["en"] for mistake in self.mistakes)

    @property
    def mistakes_zh(self) -> str:
        return markdown_list(mistake["zh"] for mistake in self.mistakes)


class Choice(models.Model):
    """An option of a single- or multiple-choice question."""

    question = models.ForeignKey(Question, models.CASCADE, related_name="choices")
    position = models.PositiveSmallIntegerField()
    is_correct = models.BooleanField(default=False)
    text_en = models.TextField(blank=True)
    text_zh = models.TextField(blank=True)
    feedback_en = models.TextField(blank=True)
    feedback_zh = models.TextField(blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["question", "position"], name="choice_position_once")]

    def __str__(self) -> str:
        return f"{self.question_id}.{self.position}"


class RubricPoint(models.Model):
    """One key point of a good answer."""

    DIMENSIONS = [(d, d) for d in ("concept", "mathematics", "engineering", "trade-offs", "evidence")]

    question = models.ForeignKey(Question, models.CASCADE, related_name="rubric")
    position = models.PositiveSmallIntegerField()
    weight = models.PositiveSmallIntegerField()
    dimension = models.CharField(max_length=20, choices=DIMENSIONS)
    text_en = models.TextField(blank=True)
    text_zh = models.TextField(blank=True)
    terms_en = models.JSONField(default=list, blank=True)
    terms_zh = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["question", "position"], name="rubric_position_once")]

    def __str__(self) -> str:
        return f"{self.question_id}.{self.position} ({self.weight})"
