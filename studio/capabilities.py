"""Capabilities of a model as data: doors offer choices and check requests by them, without loading the model."""

from typing import Annotated, Any

from pydantic import Field, PlainSerializer
from pydantic.fields import FieldInfo

from models.messages import Message, Refused, did_you_mean
from studio.requests import Frozen, Size, sides, spelled

FAST = "fast"  # the scheduler of a model's fast variant, where it has one
FAST_FIELD: FieldInfo = FieldInfo(
    annotation=bool,
    default=False,
    description="The fast variant of the model: four steps without guidance, a little worse.",
)


def with_fast(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request, where `fast` is the scheduler of that name; Refused where another is given, too."""
    rest = {name: value for name, value in fields.items() if name != "fast"}
    if not fields.get("fast"):
        return rest
    if rest.get("scheduler") not in (None, "", FAST):
        raise Refused("cli.fast_and_scheduler", scheduler=rest["scheduler"])
    return {**rest, "scheduler": FAST}


class Range(Frozen):
    """Numbers from `least` to `most`, both allowed; `usual` is the default."""

    least: float
    most: float
    usual: float

    def within(self, name: str, value: float | None) -> float:
        """The value, or the usual one for None; Refused where it is beyond."""
        if value is None:
            return self.usual
        if not self.least <= value <= self.most:
            raise Refused("model.range", name=name, least=f"{self.least:g}", most=f"{self.most:g}", value=value)
        return value


class Style(Frozen):
    """A style: its name, its name in Chinese, and other words that mean it."""

    name: str
    zh: str = ""
    words: tuple[str, ...] = ()


class Fixed(Frozen):
    """The only settings that a scheduler draws with, and the digest of the variant of the model that draws them."""

    steps: int
    guidance: float
    variant: str

    def strength(self, wanted: float) -> float:
        """The nearest strength that its few steps allow for a start from a picture."""
        left_out = min(self.steps - 1, round(self.steps * (1 - wanted)))  # as `first_step` of the schedulers enters
        return 1 - left_out / self.steps


class Sides(Frozen):
    """The range of either side in pixels, in multiples of `multiple`; both ends are allowed."""

    least: int
    most: int
    multiple: int

    def nearest(self, side: int) -> int:
        return min(max(round(side / self.multiple) * self.multiple, self.least), self.most)


class Capabilities(Frozen):
    """Styles, schedulers and ranges of one model. The first scheduler is the usual one."""

    title: str
    tasks: tuple[str, ...] = ("image",)  # of studio.requests.REQUESTS
    size: Size = 128  # its own
    sizes: tuple[Size, ...] = (128,)  # that are offered; of one that enlarges, those above `size` are enlarged from it
    sides: Sides | None = None  # of all other sizes, where there are any
    beyond: Annotated[Message, PlainSerializer(str)] = Message("")  # why there are no larger ones, if one should be
    upscaler: str = ""  # digest of the network that enlarges, where there is one
    styles: tuple[Style, ...] = ()
    schedulers: tuple[str, ...] = ()
    fixed: dict[str, Fixed] = Field(default_factory=dict)  # of those schedulers that draw in one way only
    steps: Range = Range(least=1, most=1, usual=1)
    guidance: Range = Range(least=1, most=1, usual=1)
    guided_from: Range | None = None  # noise level from which guidance works, where it can be chosen
    count: Range = Range(least=1, most=64, usual=1)
    best_of: Range = Range(least=1, most=16, usual=1)  # candidates for each picture
    ranker: str = ""  # the semantic space by which the best of them is chosen, where it is not the model's own
    rewards: bool = False  # whether a reward that was learned from ratings can choose it instead
    reference_strength: Range = Range(least=0, most=1, usual=1)  # of stored drawings in a picture
    shapes: tuple[int, ...] = (1,)  # how many pictures it draws together: the bits of a picture depend on it
    lacks: tuple[str, ...] = ()  # fields of requests that it has no use for
    needs: tuple[str, ...] = ()  # fields that must be set
    memory: bool = False  # whether --memory decides how it is kept
    loras: bool | None = None  # whether it draws with those that prompts name; None: such marks are words to it
    base: str = ""  # digest of the generator that adapters change
    preferences: Range = Range(least=0, most=1, usual=1)  # of what was learned from ratings, where there is a `base`
    controls: bool = False  # whether it takes --control, with a network that reads that picture
    control_strength: Range = Range(least=0, most=2, usual=1)
    pictures: bool = True  # takes --like and --mix
    edits: bool = False  # takes --image, with --mask, --expand or --variations
    strength: Range = Range(least=0.05, most=1, usual=0.6)  # of an edit: how much of a picture is forgotten
    variation: float = 0.8  # the strength of --variations
    expand: Range = Range(least=0.05, most=1, usual=0.25)  # of the longer side, on each side
    video: str = ""  # digest of the network that moves pictures, where it is a separate part
    frames: Range = Range(least=1, most=64, usual=16)  # of a clip
    fps: Range = Range(least=1, most=30, usual=8)
    motion_strength: Range = Range(least=0.25, most=2, usual=1)
    captioner: str = ""  # digest of the network that describes pictures, likewise
    languages: tuple[str, ...] = ()  # of captions
    described: tuple[int, ...] = (1,)  # how many pictures it describes together
    candidates: Range = Range(least=1, most=32, usual=1)  # of a caption

    def shape(self, count: int) -> int:
        """The usual shape for so many pictures: the smallest that holds them, else the largest."""
        return min((shape for shape in self.shapes if shape >= count), default=max(self.shapes))

    @property
    def enlarges(self) -> int:
        """Pixels a side that it enlarges pictures to, at most; 0 where it enlarges none."""
        largest = max(sides(size)[0] for size in self.sizes)
        return largest if "enlarge" in self.tasks and len(self.sizes) > 1 else 0

    def makes(self, size: int | str) -> bool:
        """Whether it makes pictures of a size."""
        return size in self.sizes or (self.sides is not None and self._drawn(size) == size)

    def nearest(self, width: int, height: int) -> int | str:
        """The nearest size that it makes, else the largest that is no larger."""
        if self.sides is not None:
            return self._drawn(spelled(width, height))
        return max((one for one in self.sizes if max(sides(one)) <= max(width, height)), key=sides, default=self.size)

    def _drawn(self, size: int | str) -> int | str:
        assert self.sides is not None
        return spelled(*map(self.sides.nearest, sides(size)))

    def style(self, word: str) -> str:
        """The style that `word` means: any of its words, in any case, with spaces or hyphens; none for none."""
        if not word:
            return ""
        known = {_plain(name): style.name for style in self.styles for name in (style.zh, *style.words, style.name)}
        if _plain(word) not in known:
            raise Refused("model.style", style=word, hint=did_you_mean(_plain(word), known))
        return known[_plain(word)]

    def scheduler(self, word: str) -> str:
        """The scheduler that `word` means, in any case; the usual one for none."""
        if not word:
            return self.schedulers[0]
        known = {_plain(name): name for name in self.schedulers}
        if _plain(word) == FAST and FAST not in known:
            raise Refused("model.no_fast", model=self.title)
        if _plain(word) not in known:
            hint = did_you_mean(_plain(word), known)
            raise Refused("model.scheduler", scheduler=word, hint=hint, schedulers=list(self.schedulers))
        return known[_plain(word)]


def _plain(word: str) -> str:
    return " ".join(word.casefold().replace("-", " ").replace("_", " ").split())
