from pathlib import Path

from django.apps import AppConfig
from django.db.models import Model
from django.utils.translation import gettext_lazy


class QuizConfig(AppConfig):
    name = "quiz"

    def ready(self) -> None:
        from kb import renderings, search
        from kb.content import registry
        from kb.editing import dashboard
        from kb.markup import register_inline
        from labs.services.predictions import after_scored
        from quiz import panels
        from quiz.links import question_links
        from quiz.models import Question
        from quiz.predictions import review_missed
        from quiz.search_source import KIND_TITLES, question_documents
        from quiz.sources import CONTENT_TYPES
        from quiz.texts import all_texts

        for content_type in CONTENT_TYPES:
            registry.register(content_type)
        registry.after_import.append(_link_all)
        registry.after_edit.append(_follow_edit)
        dashboard.panels += [panels.failed_questions, panels.waiting_questions, panels.untranslated_questions]
        search.facets.append((gettext_lazy("Kind of question"), KIND_TITLES))
        search.sources["question"] = question_documents
        renderings.texts[Question] = all_texts
        register_inline("question", question_links)
        after_scored.append(review_missed)


def _link_all(folder: Path) -> None:
    from quiz.sources import link_questions

    link_questions()


def _follow_edit(row: Model) -> None:
    """Which claims an edited question shows."""
    from kb.search import refresh_index
    from quiz.models import Question
    from quiz.sources import link_questions

    if isinstance(row, Question):
        link_questions([row])
        refresh_index("question", [row.slug, *row.descendants.values_list("slug", flat=True)])
