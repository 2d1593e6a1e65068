"""What all parts of the REST API share: paging and errors. Named in settings.REST_FRAMEWORK."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found
from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response
from rest_framework.views import exception_handler

from labs.catalog import UnknownLab
from labs.parameters import ParameterErrors
from labs.services import LimitReached


class Pages(PageNumberPagination):
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200


def handle_exception(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Errors of the services as JSON: what is wrong, by field where it has one."""
    if isinstance(exc, ParameterErrors):
        return Response({"error": str(exc), "fields": exc.by_field()}, status=400)
    if isinstance(exc, UnknownLab):
        return Response({"error": str(exc), "fields": {"lab": [str(exc)]}}, status=400)
    if isinstance(exc, LimitReached):
        limit = {"limit": exc.name, "allowed": exc.allowed, "frees_at": exc.frees_at}
        return Response({"error": str(exc), **limit}, status=429 if exc.temporary else 403)
    return exception_handler(exc, context)


def describe_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing of the schema: every operation may refuse a request, with JSON that says why."""
    refusal = {"description": "Refused; the answer says why.", "content": {"application/json": {"schema": {}}}}
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"].setdefault("4XX", refusal)
    return result


def handle_404(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "Not found."}, status=404)
    return page_not_found(request, exception)
