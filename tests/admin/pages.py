"""The admin's forms as a browser would send them back."""

from typing import Any

from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse


def change_url(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def typed(response: HttpResponse) -> dict[str, Any]:
    """What the page's form holds, by field name."""
    context = response.context
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    return {
        bound.html_name: _sent(bound.value()) for form in forms for bound in form if _sent(bound.value()) is not None
    }


def _sent(value: Any) -> Any:
    """An unchecked box sends nothing; browsers send text with CRLF."""
    if value is False:
        return None
    if isinstance(value, list):
        return [getattr(item, "pk", item) for item in value]
    return "" if value is None else str(value).replace("\n", "\r\n")


def save(client: Client, row: Model, **changes: Any) -> HttpResponse:
    """Open the row's page and send it back with other values."""
    return client.post(change_url(row), typed(client.get(change_url(row))) | changes)


def errors(response: HttpResponse) -> dict[str, list[str]]:
    return dict(response.context["adminform"].form.errors)
