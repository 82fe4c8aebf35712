"""What counts as found: all things that a prompt names and no other, by any of their names, in the control too."""

from bags import no_far_names, of_bags  # noqa: F401 - a fixture

from eval.metrics.prompts import _found, _nearest
from models.prompts.parsed import Concept

KNOWN = (
    Concept({"en": ("teacher", "woman teacher"), "zh": ("老师",)}, (), "people-body", False),
    Concept({"en": ("cat",), "zh": ("猫",)}, (), "animals-nature", True),
    Concept({"en": ("dog",), "zh": ("狗",)}, (), "animals-nature", True),
)


def test_a_thing_is_found_by_any_of_its_names_and_by_no_other() -> None:
    told = ["a cat", "a cat and a dog", "a woman teacher", "a cat", "a cat and a dog", "a cat"]
    things = [{"cat"}, {"dog", "cat"}, {"woman teacher"}, {"dog"}, {"cat"}, {"dog", "cat"}]
    assert _found(of_bags(KNOWN), told, things) == [True, True, True, False, False, False]


def test_the_nearest_thing_has_all_of_its_names() -> None:
    assert _nearest(of_bags(KNOWN), "a woman teacher") == {"teacher", "woman teacher"}
    assert _nearest(of_bags(KNOWN), "cat") == {"cat"}
