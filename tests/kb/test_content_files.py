"""Reading content: each problem names its file and line, and a broken file keeps everything out of the database."""

import pytest
from django.conf import settings

from kb.content.checks import find_cycle
from kb.content.files import MAX_FILE_BYTES, read_tree
from kb.content.registry import Problem
from kb.models import ContentImport, Point, Topic
from kb.services import ContentRefused, content_import
from labs.catalog import all_labs
from tests.content_tree import FILES, edited, text, write

LABS = ", ".join(all_labs())
POINT = "points/math/rank.yaml"
QUESTION = "questions/math/why-low-rank.yaml"
CLAIM = "claims/math/lora-params.yaml"
HEAD = "slug: rank\ntopic: math\nposition: 0\n"


def problems(folder) -> list[Problem]:
    return read_tree(folder).problems


def only_problem(folder) -> Problem:
    found = problems(folder)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def test_a_good_tree_has_no_problems(tree):
    assert problems(tree) == []
    assert {name: len(items) for name, items in read_tree(tree).items.items()} == {
        "topics": 1,
        "references": 1,
        "points": 2,
        "claims": 3,
        "questions": 1,
    }


def test_the_shipped_content_has_no_errors():
    assert [str(p) for p in read_tree(settings.CONTENT_DIR).errors()] == []


BROKEN = {
    "not YAML": (HEAD + "title: [1, 2\n", 5, "yaml"),
    "a tab": (HEAD + "\ttitle: x\n", 4, "yaml"),
    "a repeated key": (HEAD + "slug: other\n", 4, "yaml"),
    "a nested repeated key": (HEAD + "title:\n  en: a\n  en: b\n", 6, "yaml"),
    "an alias": (HEAD + "title: &t {en: a, zh: b}\ndefinition: *t\n", 5, "yaml"),
    "a merge key": (HEAD + "title: &t {en: a}\ndefinition:\n  <<: *t\n", 6, "yaml"),
    "a Python object": (HEAD + "title: !!python/object/apply:os.system [id]\n", 4, "yaml"),
    "a key that is a list": (HEAD + "? [a]\n: b\n", 4, "yaml"),
    "a date that is none": (HEAD + "title: 2024-13-45\n", 4, "yaml"),
    "a number that is none": (HEAD + "title: !!int many\n", 4, "yaml"),
    "a deep nest": (HEAD + "title: " + "[" * 20_000, 4, "yaml"),
    "a nest that would exhaust the stack": (HEAD + "title: " + "[" * 500_000, 4, "yaml"),
    "two documents": (HEAD + "---\nslug: other\n", 4, "yaml"),
    "a control character": ("slug: \x00\n", 1, "yaml"),
    "nothing": ("", 1, "yaml"),
    "a list": ("- 1\n", 1, "schema"),
    "a word": ("lora\n", 1, "schema"),
}


@pytest.mark.parametrize(("source", "line", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_yaml_names_file_and_line(tree, source, line, code):
    write(tree, POINT, source)
    found = [p for p in problems(tree) if p.file == POINT]
    assert [(p.line, p.code) for p in found] == [(line, code)]


def test_a_billion_laughs_are_refused_at_once(tree):
    layers = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    write(tree, POINT, "a0: &a0 lol\n" + "\n".join(layers))
    found = [p for p in problems(tree) if p.file == POINT]
    assert [p.message for p in found] == ["aliases (&name, *name) are not allowed"]


def test_an_alias_from_one_item_to_another_is_refused(tree):
    title = "{en: Mathematics, zh: 数学}"
    first = f"{{slug: math, title: &t {title}, summary: {title}}}"
    second = f"{{slug: more, title: *t, summary: {title}}}"
    write(tree, "topics.yaml", f"topics:\n- {first}\n- {second}\n")
    assert [(p.line, p.code) for p in problems(tree) if p.file == "topics.yaml"] == [(3, "yaml")]


def test_an_unknown_field_is_named_with_its_line(tree):
    write(tree, POINT, {"slug": "rank", "colour": "red", **edited(POINT)})
    problem = problems(tree)[0]
    assert (problem.file, problem.code) == (POINT, "schema")
    assert problem.message == "colour: Extra inputs are not permitted (found 'red')"
    assert (tree / POINT).read_text().splitlines()[problem.line - 1] == "colour: red"


def test_a_missing_field_is_named(tree):
    write(tree, POINT, edited(POINT, mechanism=None))
    problem = problems(tree)[0]
    assert (problem.file, problem.line, problem.message) == (POINT, 1, "mechanism: Field required")


def test_a_wrong_value_deep_inside_gives_its_own_line(tree):
    follow_up = FILES[QUESTION]["follow_ups"][0] | {"difficulty": 9}
    write(tree, QUESTION, edited(QUESTION, follow_ups=[follow_up]))
    problem = problems(tree)[0]
    assert problem.message == "follow_ups.0.difficulty: Input should be less than or equal to 5 (found '9')"
    assert (tree / QUESTION).read_text().splitlines()[problem.line - 1].strip() == "difficulty: 9"


@pytest.mark.parametrize("slug", ["Rank", "rank_8", "-rank", "a" * 81, "../rank", "rank\n"])
def test_a_wrong_slug_is_refused(tree, slug):
    write(tree, POINT, edited(POINT, slug=slug))
    assert "schema" in {p.code for p in problems(tree) if p.file == POINT}


def test_a_misplaced_file_is_told_where_it_belongs(tree):
    (tree / POINT).rename(tree / "points/rank.yaml")
    problem = only_problem(tree)
    assert str(problem) == f"points/rank.yaml:1: this item belongs in {POINT} [misplaced]"


def test_an_over_large_file_is_not_read(tree):
    write(tree, POINT, "#" * (MAX_FILE_BYTES + 1))
    problem = next(p for p in problems(tree) if p.file == POINT)
    assert (problem.code, problem.message) == (
        "too-large",
        f"file of {MAX_FILE_BYTES + 1} bytes; allowed: {MAX_FILE_BYTES}",
    )


def test_a_file_that_is_not_utf8_is_named(tree):
    (tree / POINT).write_bytes("slug: 秩".encode("gb18030"))
    assert [p.code for p in problems(tree) if p.file == POINT] == ["unreadable"]


def test_a_missing_list_file_is_named(tree):
    (tree / "references.yaml").unlink()
    assert ("references.yaml", "unreadable") in {(p.file, p.code) for p in problems(tree)}


def test_a_list_file_with_more_than_the_list_is_refused(tree):
    write(tree, "topics.yaml", FILES["topics.yaml"] | {"more": 1})
    message = "expected a list under the key 'topics' and nothing else"
    assert message in [p.message for p in problems(tree) if p.file == "topics.yaml"]


def test_a_missing_language_is_flagged(tree):
    write(tree, POINT, edited(POINT, practice={"en": "Small files.", "zh": " "}))
    problem = only_problem(tree)
    assert str(problem) == f"{POINT}:1: practice (zh): there is no text [missing-language]"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("[[claim:nothing]]", "practice (en): there is no claim 'nothing'"),
        ("[[point:nothing]]", "practice (en): there is no point 'nothing'"),
        ("[[question:nothing]]", "practice (en): there is no question 'nothing'"),
        ("[@nobody]", "practice (en): there is no reference 'nobody'"),
        (
            "[[film:jaws]]",
            "practice (en): unknown kind in [[film:jaws]]; allowed: claim, point, question, reference",
        ),
    ],
)
def test_a_dead_link_is_named(tree, source, message):
    write(tree, POINT, edited(POINT, practice=text(source)))
    problem = only_problem(tree)
    assert (problem.file, problem.code, problem.message) == (POINT, "dead-link", message)


def test_a_text_may_refer_to_a_follow_up(tree):
    write(tree, POINT, edited(POINT, practice=text("[[question:why-low-rank-when-not]]")))
    assert problems(tree) == []


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (POINT, {"prerequisites": ["nothing"]}, "prerequisites: there is no point 'nothing'"),
        (QUESTION, {"points": ["nothing"]}, "points: there is no point 'nothing'"),
        (CLAIM, {"source": "nobody"}, "source: there is no reference 'nobody'"),
    ],
)
def test_a_dead_relation_is_named(tree, name, changes, message):
    write(tree, name, edited(name, **changes))
    problem = only_problem(tree)
    assert (problem.file, problem.code, problem.message) == (name, "dead-link", message)


def test_an_unknown_topic_is_named(tree):
    (tree / POINT).unlink()
    write(tree, "points/physics/rank.yaml", edited(POINT, topic="physics"))
    assert only_problem(tree).message == "topic: there is no topic 'physics'"


def test_a_repeated_slug_names_the_first_place(tree):
    twice = {"references": FILES["references.yaml"]["references"] * 2}
    write(tree, "references.yaml", twice)
    problem = only_problem(tree)
    assert (problem.code, problem.message) == ("duplicate", "key 'hu2021' is already used in references.yaml:2")


def test_a_follow_up_must_not_take_a_questions_slug(tree):
    follow_up = FILES[QUESTION]["follow_ups"][0] | {"slug": "why-low-rank"}
    write(tree, QUESTION, edited(QUESTION, follow_ups=[follow_up]))
    assert {p.message for p in problems(tree)} == {"the slug 'why-low-rank' is used 2 times"}


def test_prerequisites_must_not_run_in_a_circle(tree):
    write(tree, POINT, edited(POINT, prerequisites=["scaling"]))
    problem = only_problem(tree)
    assert (problem.file, problem.code) == (POINT, "cycle")
    assert problem.message == "prerequisites run in a circle: rank → scaling → rank"


def test_find_cycle_finds_none_where_paths_only_meet():
    assert find_cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}) == []
    assert find_cycle({"a": ["a"]}) == ["a", "a"]


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"expected": 1, "formula": "no_such"}, "formula = 'no_such': allowed: "),
        ({"expected": 1, "formula": "lora_layer_parameters", "arguments": {"rank": 8}}, "missing"),
        ({"expected": 1, "formula": "lora_layer_parameters", "arguments": {"d_in": 1, "d_out": 1, "r": 8}}, "'r'"),
    ],
)
def test_a_formula_that_cannot_be_computed_is_dead_evidence(tree, check, message):
    write(tree, CLAIM, edited(CLAIM, checks=[check]))
    problem = only_problem(tree)
    assert (problem.file, problem.code) == (CLAIM, "dead-evidence")
    assert message in problem.message


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"lab": "no-such", "metric": "loss"}, f"Unknown lab 'no-such'; allowed: {LABS}"),
        ({"lab": "rank-sweep", "metric": "no_such"}, "Lab rank-sweep has no metric 'no_such'; it has validation_loss"),
    ],
)
def test_a_metric_that_no_lab_logs_is_dead_evidence(tree, place, message):
    name = "claims/math/loss-falls.yaml"
    write(tree, name, edited(name, checks=[{"at_most": 1, **place}]))
    problem = only_problem(tree)
    assert problem.code == "dead-evidence"
    assert message in problem.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checks": []}, "a claim of method formula needs at least one check"),
        ({"checks": [{"formula": "f"}]}, "a check needs either expected or at_least / at_most, and not both"),
        ({"checks": [{"formula": "f", "expected": 1, "at_most": 2}]}, "a check needs either expected or"),
        ({"checks": [{"formula": "f", "at_most": 1, "absolute": 1}]}, "absolute and relative belong to expected"),
        ({"checks": [{"formula": "f", "expected": 1, "absolute": 1, "relative": 1}]}, "not both"),
        ({"checks": [{"expected": 1, "lab": "rank-sweep"}]}, "every check of a formula claim needs formula"),
        ({"method": "measurement"}, "every check of a measurement claim needs lab and metric"),
        ({"method": "citation"}, "a cited claim has no checks"),
        ({"method": "citation", "checks": [], "source": "hu2021"}, "a cited claim needs place"),
    ],
)
def test_a_claim_whose_checks_do_not_fit_is_refused(tree, changes, message):
    write(tree, CLAIM, edited(CLAIM, **changes))
    found = [p for p in problems(tree) if p.file == CLAIM]
    assert [p.code for p in found] == ["schema"]
    assert message in found[0].message


def test_all_problems_are_listed_at_once(tree):
    write(tree, POINT, edited(POINT, practice={"en": "x"}))
    write(tree, CLAIM, edited(CLAIM, method="guess"))
    assert {"missing-language", "schema"} <= {p.code for p in problems(tree)}


@pytest.mark.django_db
def test_nothing_is_written_when_a_file_is_broken(tree):
    write(tree, "claims/math/paper-says.yaml", "slug: [")
    with pytest.raises(ContentRefused, match=r"claims/math/paper-says.yaml:\d+: not valid YAML"):
        content_import(folder=tree)
    assert (Topic.objects.count(), Point.objects.count(), ContentImport.objects.count()) == (0, 0, 0)
