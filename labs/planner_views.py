"""The page of the memory planner."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from kb.http import SignedInRequest
from labs import planner
from labs.catalog import get_lab
from labs.forms import LabForm
from labs.memory.recipe import Recipe
from labs.models import Run
from labs.services import LimitReached, run_submit, run_twin

DEFAULT = Recipe()


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """`?recipe={…}`, up to four times: their memory side by side, and a form for the next one.

    The form comes back with its fields; a good one is led on to the address that shares what it asks.
    """
    recipes = _recipes(request)
    form = _form(request.GET) if "show" in request.GET or "add" in request.GET else None
    if form and form.is_valid() and form.request:
        asked = Recipe.model_validate(form.request.params)
        kept = recipes if "add" in request.GET else recipes[:-1]
        return redirect(planner.address_of([*[r for r in kept if r != asked][: planner.MOST - 1], asked]))
    answers = planner.answers(recipes or [DEFAULT])
    known = [answer for answer in answers if answer.run]
    unknown = _unknown(request, answers)
    context = {
        "form": form or LabForm(get_lab(planner.SLUG), "quick", _typed(answers[-1].recipe)),
        "is_bound": form is not None,
        "answers": answers,
        "known": known,
        "unknown": unknown,
        "is_waiting": any(run.is_live for _answer, run in unknown if run),
        "figures": [planner.stacked_figure(known), planner.course_figure(known)] if known else [],
        "remedies": list(planner.remedies(known[-1], [answer.recipe for answer in answers])) if known else [],
        "recipes": [answer.text for answer in answers],
        "may_add": len(answers) < planner.MOST,
    }
    template = "labs/_planned.html" if request.headers.get("HX-Request") else "labs/planner.html"
    return render(request, template, context, status=422 if form else 200)


@require_POST
@login_required
def simulate(request: SignedInRequest) -> HttpResponse:
    """Ask a worker for what is not known yet; sent twice, it is asked once."""
    recipes = _recipes(request)
    for answer in planner.answers(recipes):
        wanted = planner.request_of(answer.recipe)
        if answer.run or run_twin(user=request.user, request=wanted):
            continue
        try:
            run_submit(user=request.user, request=wanted)
        except LimitReached as e:
            messages.error(request, str(e))
            break
    return redirect(planner.address_of(recipes))


def _recipes(request: HttpRequest) -> list[Recipe]:
    """Those of the address; what cannot be read is named and left out."""
    sent = request.POST if request.method == "POST" else request.GET
    recipes = []
    for text in sent.getlist("recipe")[: planner.MOST]:
        try:
            recipes.append(planner.recipe_of(text))
        except planner.BadRecipe as e:
            messages.error(request, str(e))
    return recipes


def _unknown(request: HttpRequest, answers: list[planner.Answer]) -> list[tuple[planner.Answer, Run | None]]:
    """Recipes without an answer, each with the reader's own run that is to give one, or that did not."""
    waiting = []
    for answer in (answer for answer in answers if not answer.run):
        key = planner.request_of(answer.recipe).key
        own = Run.objects.filter(owner=request.user.pk, question_key=key) if request.user.pk else Run.objects.none()
        waiting.append((answer, own.order_by("-pk").first()))
    return waiting


def _form(sent: QueryDict) -> LabForm:
    data = sent.copy()
    data["seeds"] = "0"
    return LabForm(get_lab(planner.SLUG), "quick", data)


def _typed(recipe: Recipe) -> QueryDict:
    """The recipe as the form's fields."""
    data = QueryDict(mutable=True)
    data.update({name: value for name, value in recipe.model_dump(mode="json").items() if value is not False})
    data["seeds"] = "0"
    return data
