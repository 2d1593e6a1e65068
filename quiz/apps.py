from django.apps import AppConfig


class QuizConfig(AppConfig):
    name = "quiz"

    def ready(self) -> None:
        from kb import search
        from kb.content import registry
        from kb.markup import register_inline
        from quiz.links import question_links
        from quiz.search_source import question_documents
        from quiz.sources import CONTENT_TYPES

        for content_type in CONTENT_TYPES:
            registry.register(content_type)
        search.sources.append(question_documents)
        register_inline("question", question_links)
