"""What quiz offers to the search: questions and follow-ups."""

from collections.abc import Collection, Iterator

from django.utils.translation import pgettext_lazy

from kb.models import Status
from kb.search import Document
from kb.text import LANGUAGES, pick
from quiz.asking import ask
from quiz.models import Question

KIND_TITLES = {
    Question.OPEN: pgettext_lazy("kind of question", "open"),
    Question.SINGLE: pgettext_lazy("kind of question", "single choice"),
    Question.MULTI: pgettext_lazy("kind of question", "multiple choice"),
    Question.NUMERIC: pgettext_lazy("kind of question", "numeric"),
    Question.PARAMETRIC: pgettext_lazy("kind of question", "with fresh numbers"),
    Question.ORDER: pgettext_lazy("kind of question", "put in order"),
    Question.CLOZE: pgettext_lazy("kind of question", "cloze"),
}


def question_documents(slugs: Collection[str] | None = None) -> Iterator[Document]:
    questions = Question.objects.filter(status=Status.PUBLISHED).select_related("topic")
    for row in questions if slugs is None else questions.filter(slug__in=slugs):
        question = ask(row, row.slug).question  # the numbers of its answer page
        for language in LANGUAGES:
            yield Document(
                kind="question",
                slug=question.slug,
                language=language,
                url=question.get_absolute_url(),
                title=pick(question, "prompt", language),
                body="\n".join(pick(question, field, language) for field in ("short", "answer", "mistakes")),
                topic=question.topic.slug,
                difficulty=question.difficulty,
                facet=question.kind,
            )
