"""Certainty-based marking (Gardner-Medwin): the surer, the more a right answer gains and the more a wrong one costs."""

RIGHT = {1: 1, 2: 2, 3: 3}
WRONG = {1: 0, 2: -2, 3: -6}


def certainty_marks(score: float, certainty: int) -> float:
    """Marks for a share of full marks.

    Partial credit lies on the line between the wrong and the right answer's marks, so that what is expected depends on
    the expected score alone and it pays to be honest: 2 from a chance of 2/3 on, 3 from 4/5 on.
    """
    if certainty not in RIGHT:
        raise ValueError(f"Invalid certainty {certainty}; allowed: 1 (a guess), 2 (fairly sure), 3 (certain)")
    if not 0 <= score <= 1:
        raise ValueError(f"Invalid score {score}; allowed: 0 to 1")
    return WRONG[certainty] + score * (RIGHT[certainty] - WRONG[certainty])
