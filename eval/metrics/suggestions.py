"""Whether suggestions for a prompt stay with it: all things of its truth are in their words, by a name of each.

That is read letter by letter, neither by the parser nor in the space, which have dropped what they took for astray. The
prompts are captions of held-out pictures and of scenes, in both languages.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from eval import sets
from eval.context import SEED, Context
from eval.generator import SPACE
from eval.metrics import metric
from eval.rows import Row, share_row
from models.data.captions import caption
from models.data.grammar import plural
from models.data.scenes import SceneObject, make_scene
from models.data.world import Picture
from models.prompts.suggest import Suggester
from models.prompts.suggestion import KINDS, Suggestion

Names = Sequence[frozenset[str]]  # of each thing of a prompt, in all languages
GOAL = 0.95
EACH = 100  # captions of pictures, and of scenes


@metric("suggestions", "parser", "vocabulary")
def suggestion_rows(context: Context) -> Iterator[Row]:
    """By kind, the share of prompts for which all that is suggested names its things; against those of the prompt
    before it. `nearest` is for words that are not known, of which captions have none."""
    weights = context.generator.weights
    suggester, asked = Suggester(weights.parser, weights.vocabulary), prompts(context)
    found = [_by_kind(suggester.suggest(text)) for text, _ in asked]
    for kind in KINDS[:-1]:
        mine = [(one[kind], names) for one, (_, names) in zip(found, asked, strict=True) if one[kind]]
        others = [(mine[i - 1][0], names) for i, (_, names) in enumerate(mine)]
        right, control = ([_stays(*pair) for pair in pairs] for pairs in (mine, others))
        against = ("those for another prompt", sum(control) / max(1, len(control)))
        note = f"offered for {len(mine)} of {len(asked)}"
        name = f"suggestions, {kind}: all things are named"
        yield share_row(name, right, goal=GOAL, against=(against,), note=note, seeds=f"captions {SEED}", parts=SPACE)


def prompts(context: Context) -> list[tuple[str, Names]]:
    """Captions that name their things, with the names of each: of one picture, and of scenes."""
    pictures = sets.cells(context.world, context.sizes.gallery)[:EACH]
    alone = [(caption(picture, SEED, length="short"), [_names(picture)]) for picture in pictures]
    scenes = [make_scene(context.world, SEED + i, "test") for i in range(len(pictures))]
    several = [(scene.caption(0, grounded=True), [_names(one) for one in scene.objects]) for scene in scenes]
    return [(text, names) for text, names in alone + several if _stays([text.lower()], names)]


def _names(thing: Picture | SceneObject) -> frozenset[str]:
    names = {name.lower().removesuffix(" face") for name in thing.names.values()}
    return frozenset(names | {plural(name) for name in names if name.isascii()})


def _by_kind(found: Sequence[Suggestion]) -> dict[str, list[str]]:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for one in found:
        by_kind[one.kind].append(one.text.lower())
    return by_kind


def _stays(texts: Sequence[str], names: Names) -> bool:
    return all(any(name in text for name in of_one) for text in texts for of_one in names)
