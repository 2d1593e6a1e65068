"""Questions, answers, the review of cards, sittings (quizzes and interviews), own cards, plans."""

from quiz.models.attempts import Attempt
from quiz.models.own_cards import DeckImport, OwnCard
from quiz.models.plans import Optimisation, PlanDay, Rescheduling
from quiz.models.questions import Choice, Question, RubricPoint, markdown_list
from quiz.models.review import Card, DayTally, ReviewEvent, Scheduling, StudySettings
from quiz.models.sittings import Sitting, Turn

__all__ = [
    "Attempt",
    "Card",
    "Choice",
    "DayTally",
    "DeckImport",
    "Optimisation",
    "OwnCard",
    "PlanDay",
    "Question",
    "Rescheduling",
    "ReviewEvent",
    "RubricPoint",
    "Scheduling",
    "Sitting",
    "StudySettings",
    "Turn",
    "markdown_list",
]
