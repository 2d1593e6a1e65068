from typing import Any

from django import forms

from quiz.statistics.page import AHEAD, PERIODS, Wish


class WishForm(forms.Form):
    """What the address asks to see. A value that makes no sense shows the default instead of an error."""

    year = forms.IntegerField(min_value=1970, max_value=9998, required=False)
    ahead = forms.TypedChoiceField(coerce=int, choices=[(n, n) for n in AHEAD], required=False)
    period = forms.TypedChoiceField(coerce=int, choices=[(n, n) for n in PERIODS], required=False)


def wish_from(data: Any, this_year: int) -> Wish:
    form = WishForm(data)
    form.is_valid()
    found = form.cleaned_data
    return Wish(
        year=found.get("year") or this_year,
        ahead=found.get("ahead") or AHEAD[0],
        period=found.get("period") or PERIODS[0],
    )
