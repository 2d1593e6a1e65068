"""What the numbers say, in a sentence or two, and what they do not say."""

from collections.abc import Sequence

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kb.text import active_language
from quiz.statistics.figures import Runs, Share

# Below so many answers a share says little.
LEAST_REVIEWS = 100
# Above this share of Hard among the recalled, it may be pressed for what was forgotten.
MUCH_HARD = 0.35


def sentences(*texts: str) -> str:
    """One after the other; Chinese ones without a space between."""
    return ("" if active_language() == "zh" else " ").join(texts)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def on_retention(found: Share, desired: float) -> str:
    """Whether the learner's recall fits the setting, as far as the number of reviews lets one tell."""
    if found.value is None or found.ends is None or found.total < LEAST_REVIEWS:
        return _("%(n)s reviews so far; from about %(least)s on the share says something.") % {
            "n": found.total,
            "least": LEAST_REVIEWS,
        }
    low, high = found.ends
    values = {
        "share": percent(found.value),
        "low": percent(low),
        "high": percent(high),
        "n": found.total,
        "desired": percent(desired),
    }
    begin = _("You recalled %(share)s of %(n)s reviews (95 %% interval %(low)s to %(high)s).") % values
    if desired > high:
        then = _(
            "The setting aims at %(desired)s: cards come a little late for your memory. Fitting the parameters to "
            "your log usually closes the gap."
        )
    elif desired < low:
        then = _(
            "The setting aims at %(desired)s: cards come sooner than they need to. Fitting the parameters to your "
            "log saves reviews."
        )
    else:
        then = _("The setting aims at %(desired)s, which fits.")
    return sentences(begin, then % values)


def on_forecast(counts: Sequence[int], overdue: int, seconds: float | None) -> str:
    """What is due now, and how much a day comes on average."""
    mean = sum(counts) / len(counts)
    texts = [ngettext("%(n)s card is due today.", "%(n)s cards are due today.", counts[0]) % {"n": counts[0]}]
    if overdue:
        texts.append(
            ngettext("%(n)s of them was due before.", "%(n)s of them were due before.", overdue) % {"n": overdue}
        )
    texts.append(_("On average %(mean)s a day, without new cards and lapses.") % {"mean": f"{mean:.0f}"})
    if seconds:
        minutes = f"{mean * seconds / 60:.0f}"
        texts.append(_("At your pace that is about %(minutes)s minutes a day.") % {"minutes": minutes})
    return sentences(*texts)


def on_runs(runs: Runs) -> str:
    """Days in a row, without reproach: what is missed waits."""
    texts = [_("You answered on %(n)s of the last 30 days.") % {"n": runs.recent}]
    if runs.current > 1:
        texts.append(_("%(n)s days in a row now, %(longest)s at most.") % {"n": runs.current, "longest": runs.longest})
    elif runs.longest > 1:
        texts.append(_("The longest run was %(longest)s days.") % {"longest": runs.longest})
    texts.append(_("A day off costs nothing but a longer list: the schedule takes the longer gap into account."))
    return sentences(*texts)


def on_buttons(again: int, hard: int, good: int, easy: int) -> str:
    recalled = hard + good + easy
    if again + recalled >= LEAST_REVIEWS and recalled and hard / recalled > MUCH_HARD:
        return _(
            "Hard makes up %(share)s of what you recalled. It counts as recalled: for an answer that was not there, "
            "Again keeps the intervals honest."
        ) % {"share": percent(hard / recalled)}
    return _("Hard, Good and Easy all count as recalled, only Again as forgotten.")
