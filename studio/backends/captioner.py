"""Other people's models that describe pictures: those of transformers that read a picture and write text. torch is
imported by `load`, not before.
"""

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from models.quiet import silence
from studio import media, settings
from studio.backends import placing
from studio.backends.base import Backend, Event, Handler, per_request
from studio.backends.given import seen
from studio.backends.loading import loads
from studio.backends.pipeline_calls import explained
from studio.backends.stepwise import Returned, stepwise
from studio.backends.vectors import Places
from studio.capabilities import Capabilities, Range
from studio.disk.digests import Digests
from studio.disk.found import Found
from studio.disk.look import whole
from studio.events import Progress
from studio.requests import CaptionRequest

ASKED: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("captions.toml").read_text(encoding="utf-8"))
TOKENS = ASKED.pop("tokens")
TALKS = "chat_template"  # in the name of a file, or in the tokenizer's settings, of a model that is talked to


class Captioner(Backend):
    """The model in the folder `name`, or in the Hugging Face cache under that id."""

    def __init__(self, name: str) -> None:
        self.name, self._places = name, Places()

    @cached_property
    def found(self) -> Found:
        return whole(self.name, "captioner")

    @property
    def _talks(self) -> bool:
        files = [path for path in self.found.deciding if path.parent == self.found.path]
        said = (path for path in files if path.name in ("tokenizer_config.json", "processor_config.json"))
        return any(TALKS in path.name for path in files) or any(TALKS in path.read_text("utf-8") for path in said)

    def capabilities(self) -> Capabilities:
        """As its files say: one that is talked to can be asked for a language, more words, or tags."""
        return Capabilities(
            title=Path(self.found.name).name,
            tasks=tuple(self.tasks),
            languages=tuple(ASKED) if self._talks else ("en",),
            lacks=() if self._talks else ("long", "tags"),
            candidates=Range(least=1, most=8, usual=1),
        )

    def digest(self) -> str:
        return Digests(settings.home()).of_files(self.found.deciding, self.found.path)

    def space(self) -> str:
        return self._places.space()

    @property
    def tasks(self) -> Mapping[str, Handler]:
        done = {"caption": per_request(self._captions)}
        return {**done, **({"embed": per_request(self._places.vectors)} if self.space() else {})}

    def load(self) -> None:
        _ = self._loaded

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model, and what makes tensors of pictures and words, and words of tokens."""
        placing.chosen(self.found)
        silence()
        import transformers

        about: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        with loads(self.found.path):
            made: Any = transformers.AutoModelForImageTextToText.from_pretrained(
                self.found.path, dtype=placing.dtype(), use_safetensors=True, **about
            )
            return made.to(placing.device()).eval(), _processor(self.found.path, **about)

    def _captions(self, request: CaptionRequest) -> Iterator[Event]:
        """The likeliest text, then others that are drawn by the seed, each with the mean probability of its tokens."""
        kind = "long" if request.long else "tags" if request.tags else "short"
        yield Progress(0, TOKENS[kind])
        picture = media.on_ground(seen(request))
        said, texts = ASKED[request.language][kind] if self._talks else "", list[tuple[str, float]]()
        self.load()
        for sampled in dict.fromkeys((0, (request.candidates or 1) - 1)):
            texts += yield from self._written(picture, said, TOKENS[kind], sampled, request.seed or 0)
        best, *others = dict(sorted(texts, key=lambda one: -one[1])).items()
        about = {"how": placing.here(), **self._places.about(best[0]), "score": best[1]}
        yield media.caption(best[0], others, True, request.language, seed=request.seed or 0, **about)

    def _written(self, picture: Any, said: str, most: int, sampled: int, seed: int) -> Any:
        """Yields progress, returns (text, score) of what is written, of so many that are drawn, or of the likeliest."""
        model, processor = self._loaded
        given, how = _inputs(processor, picture, said), {"do_sample": True, "num_return_sequences": sampled}

        def work(report: Callable[[Any], None]) -> Any:
            import torch

            with torch.random.fork_rng(), torch.inference_mode():
                torch.manual_seed(seed)
                about = {"max_new_tokens": most, "stopping_criteria": [_reporting(report)], "output_logits": True}
                moved = {name: one.to(model.device) for name, one in given.items()}
                moved |= {name: one.to(model.dtype) for name, one in moved.items() if one.is_floating_point()}
                chosen = how if sampled else {"do_sample": False}
                return model.generate(**moved, **about, **chosen, num_beams=1, return_dict_in_generate=True)

        with explained(Path(self.found.name).name), closing(stepwise(work)) as steps:
            for step in steps:
                if isinstance(step, Returned):
                    return _texts(step.value, getattr(processor, "tokenizer", processor))
                yield Progress(min(step, most), most)


class _Apart:
    """What reads pictures and what reads words, of a model that has no processor for both."""

    def __init__(self, pictures: Any, tokenizer: Any) -> None:
        self.pictures, self.tokenizer = pictures, tokenizer

    def __call__(self, images: Any, return_tensors: str) -> Any:
        return self.pictures(images=images, return_tensors=return_tensors)


def _processor(path: Path, **about: Any) -> Any:
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    made = AutoProcessor.from_pretrained(path, **about)
    if hasattr(made, "image_processor"):
        return made
    return _Apart(AutoImageProcessor.from_pretrained(path, **about), AutoTokenizer.from_pretrained(path, **about))


def _inputs(processor: Any, picture: Any, said: str) -> Mapping[str, Any]:
    """Tensors of the picture, and of what the model is asked, if it is."""
    if not said:
        return processor(images=picture, return_tensors="pt")
    turn = {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": said}]}
    how: dict[str, Any] = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
    return processor.apply_chat_template([turn], **how, return_tensors="pt")


def _reporting(report: Callable[[Any], None]) -> Any:
    """A criterion that never stops, and reports how many tokens are written."""
    import torch

    count = iter(range(1, 1 << 30))

    def written(tokens: Any, scores: Any, **more: Any) -> Any:
        report(next(count))
        return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

    return written


def _texts(made: Any, tokenizer: Any) -> list[tuple[str, float]]:
    """Each text that was written with the mean probability of its tokens, up to the one that ends it."""
    import torch

    tokens = made.sequences[:, -len(made.logits) :]
    chances = torch.stack(made.logits, 1).float().softmax(-1).gather(-1, tokens[..., None])[..., 0].tolist()
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    found = []
    for row, chance in zip(tokens.tolist(), chances, strict=True):
        length = next((n for n, token in enumerate(row, 1) if token in ends), len(row))
        text = " ".join(tokenizer.decode(row[:length], skip_special_tokens=True).split())
        found.append((text, round(math.exp(sum(math.log(max(one, 1e-9)) for one in chance[:length]) / length), 4)))
    return found
