from django.contrib import admin

from quiz.models import Attempt, Question, RubricPoint


class RubricInline(admin.TabularInline):
    model = RubricPoint
    extra = 0


@admin.register(Question)
class QuestionAdmin(admin.ModelAdmin):
    list_display = ["slug", "topic", "parent", "kind", "difficulty"]
    list_filter = ["topic", "kind", "difficulty"]
    list_select_related = ["topic", "parent"]
    search_fields = ["slug", "prompt_en", "prompt_zh"]
    autocomplete_fields = ["parent", "root"]
    filter_horizontal = ["points"]
    readonly_fields = ["claims"]
    inlines = [RubricInline]


@admin.register(Attempt)
class AttemptAdmin(admin.ModelAdmin):
    """The log is append-only: it can be read here, not changed."""

    list_display = ["pk", "owner", "question", "grade", "score", "created_at"]
    list_select_related = ["owner", "question"]

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False
