from typing import Any

from django.contrib import admin

from kb.editing.admin import ItemAdmin
from kb.editing.fields import WordsField
from kb.editing.forms import ItemForm
from labs.models import Claim, Run
from labs.sources import claim_source


@admin.register(Run)
class RunAdmin(admin.ModelAdmin):
    """Runs are written by services only; the operator reads reasons and tracebacks here."""

    list_display = ["pk", "lab_slug", "preset", "origin", "owner", "status", "created_at"]
    list_filter = ["lab_slug", "origin", "status"]
    list_select_related = ["owner"]

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False


class ClaimForm(ItemForm):
    settles = WordsField()

    def make_source(self) -> Any:
        return claim_source(self.instance)


@admin.register(Claim)
class ClaimAdmin(ItemAdmin):
    form = ClaimForm
    list_display = ["slug", "topic", "method", "verdict"]
    list_filter = ["verdict", "method", "topic"]
    list_select_related = ["topic"]
    search_fields = ["slug", "statement_en", "statement_zh"]
    readonly_fields = ["verdict", "findings", "decided_by", "decided_at", "points"]
