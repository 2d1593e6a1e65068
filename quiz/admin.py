from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from kb.editing.admin import PartInline
from kb.editing.fields import WordsField
from kb.editing.forms import InlineForm, ItemForm
from kb.editing.table_admin import TableAdmin
from quiz.models import Attempt, Choice, Question, RubricPoint
from quiz.queries import follow_up_tree
from quiz.sources import SPEC_FIELDS, below_parent, question_source


class RubricForm(InlineForm):
    terms_en = WordsField()
    terms_zh = WordsField()


class RubricInline(PartInline):
    model = RubricPoint
    form = RubricForm
    fields = [("order", "weight", "dimension"), "text_en", "text_zh", ("terms_en", "terms_zh")]


class ChoiceInline(PartInline):
    model = Choice
    fields = [("order", "is_correct"), "text_en", "text_zh", "feedback_en", "feedback_zh"]


class QuestionForm(ItemForm):
    covers = WordsField(help_text="content/inventory.yaml")

    PLACES = dict.fromkeys(SPEC_FIELDS, "spec")
    parent: Question | None = None  # of a new follow-up

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.parent and not self.instance.pk:
            below_parent(self.instance, self.parent)

    def make_source(self) -> Any:
        return question_source(
            self.instance,
            rubric=self.formsets["rubric"].rows(),
            choices=self.formsets["choices"].rows(),
            points=self.cleaned_data.get("points", []),
        )


# The style sheet knows as many depths of the tree.
MAX_DEPTH = 6
TEXTS = [f"{name}_{language}" for name in ("prompt", "short", "answer") for language in ("en", "zh")]


@admin.register(Question)
class QuestionAdmin(TableAdmin):
    """A question with its rubric and choices; each follow-up has a page of its own and hangs below its parent."""

    form = QuestionForm
    list_display = ["slug", "topic", "kind", "difficulty", "status", "parent"]
    list_filter = [("parent", admin.EmptyFieldListFilter), "status", "kind", "difficulty", "topic"]
    list_select_related = ["topic", "parent"]
    search_fields = ["slug", "prompt_en", "prompt_zh"]
    filter_horizontal = ["points"]
    inlines = [RubricInline, ChoiceInline]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A follow-up says when it is asked; topic, points and status are its root's."""
        is_follow_up = bool(self._parent(request, obj))
        own = ["when_en", "when_zh"] if is_follow_up else ["topic", "position", "status", "points"]
        texts = [*TEXTS, "mistakes", "spec", "covers"]
        shown = ["tree"] if obj else []
        self_fields = [*shown, "slug", "kind", "difficulty", *own, *texts, "version"]
        return [(None, {"fields": self_fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "tree")

    def _parent(self, request: HttpRequest, obj: Any) -> Question | None:
        if obj:
            return obj.parent
        wanted = request.GET.get("parent", "")
        return get_object_or_404(Question, pk=int(wanted)) if wanted.isdigit() else None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """A new follow-up knows its parent before it is validated."""
        form = super().get_form(request, obj, change, **kwargs)
        parent = None if obj else self._parent(request, obj)
        return type(form.__name__, (form,), {"parent": parent}) if parent else form

    @admin.display(description="Follow-ups")
    def tree(self, question: Question) -> SafeString:
        """Links to the whole tree of follow-ups, and one to add another below this question."""
        root = question.root or question
        depths: dict[int | None, int] = {None: -1}
        rows = []
        for row in [root, *follow_up_tree(root)]:
            depths[row.pk] = min(depths[row.parent_id] + 1, MAX_DEPTH)
            address = reverse("admin:quiz_question_change", args=[row.pk])
            rows.append((depths[row.pk], address, "this" if row == question else "", row.slug))
        links = format_html_join("", '<li class="depth-{}"><a href="{}" class="{}">{}</a></li>', rows)
        add = f"{reverse('admin:quiz_question_add')}?parent={question.pk}"
        template = '<ul class="tree">{}</ul><a class="addlink" href="{}">{}</a>'
        return format_html(template, links, add, _("Add a follow-up to this question"))

    def get_view_on_site_url(self, obj: Model | None = None) -> str | None:
        url = super().get_view_on_site_url(obj)
        return reverse("quiz-answer", args=[obj.slug]) if url else None  # type: ignore[union-attr]

    def items_with_status(self, rows: QuerySet) -> QuerySet:
        return super().items_with_status(rows).filter(parent=None)


@admin.register(Attempt)
class AttemptAdmin(admin.ModelAdmin):
    """The log is append-only: it can be read here, not changed."""

    list_display = ["pk", "owner", "question", "grade", "score", "created_at"]
    list_select_related = ["owner", "question"]

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False
