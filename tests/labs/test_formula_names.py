from collections import Counter

from labs.formulas import BY_MODULE, FORMULAS


def test_no_two_modules_give_a_formula_the_same_name():
    counts = Counter(name for formulas in BY_MODULE.values() for name in formulas)
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_formula_says_what_it_computes():
    assert [name for name, formula in FORMULAS.items() if not formula.__doc__] == []
