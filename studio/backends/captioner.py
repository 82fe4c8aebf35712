"""Other people's models that describe pictures: models of transformers that read a picture and write text. torch is
imported by `load`, not before.
"""

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from models.runtime import silence
from studio import media, settings
from studio.backends import runtime
from studio.backends.base import Backend, Event, Handler, per_request
from studio.backends.inputs import SemanticSpace, visible_picture
from studio.backends.runtime import Returned, loading, running, stepwise
from studio.capabilities import Capabilities, Range
from studio.disk.models import Digests, LocalModel, whole
from studio.events import Progress
from studio.requests import CaptionRequest

PROMPTS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("captions.toml").read_text(encoding="utf-8")
)
TOKENS = PROMPTS.pop("tokens")
CHAT = "chat_template"  # in the name of a file, or in the tokenizer's settings, of a model that takes instructions


class Captioner(Backend):
    """The model in the folder `name`, or in the Hugging Face cache under that id."""

    def __init__(self, name: str) -> None:
        self.name, self._semantic = name, SemanticSpace()

    @cached_property
    def model(self) -> LocalModel:
        return whole(self.name, "captioner")

    @property
    def _chats(self) -> bool:
        files = [path for path in self.model.deciding if path.parent == self.model.path]
        configs = (path for path in files if path.name in ("tokenizer_config.json", "processor_config.json"))
        return any(CHAT in path.name for path in files) or any(CHAT in path.read_text("utf-8") for path in configs)

    def capabilities(self) -> Capabilities:
        """A model that takes instructions writes in any language of PROMPTS, more words, or tags."""
        return Capabilities(
            title=Path(self.model.name).name,
            tasks=tuple(self.tasks),
            languages=tuple(PROMPTS) if self._chats else ("en",),
            lacks=() if self._chats else ("long", "tags"),
            candidates=Range(least=1, most=8, usual=1),
        )

    def digest(self) -> str:
        return Digests(settings.home()).of_files(self.model.deciding, self.model.path)

    def space(self) -> str:
        return self._semantic.space()

    @property
    def tasks(self) -> Mapping[str, Handler]:
        tasks = {"caption": per_request(self._captions)}
        return {**tasks, **({"embed": per_request(self._semantic.vectors)} if self.space() else {})}

    def load(self) -> None:
        _ = self._loaded

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model and its processor."""
        runtime.choose_memory(self.model)
        silence()
        import transformers

        path = self.model.path
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        with loading(path):
            model: Any = transformers.AutoModelForImageTextToText.from_pretrained(
                path, dtype=runtime.dtype(), use_safetensors=True, **options
            )
            processor = transformers.AutoProcessor.from_pretrained(path, **options)
            if not hasattr(processor, "image_processor"):  # the model has no processor for both
                pictures = transformers.AutoImageProcessor.from_pretrained(path, **options)
                processor = _Processor(pictures, transformers.AutoTokenizer.from_pretrained(path, **options))
            return model.to(runtime.device()).eval(), processor

    def _captions(self, request: CaptionRequest) -> Iterator[Event]:
        """The likeliest text, then others that are sampled by the seed, each with its tokens' mean probability."""
        kind = "long" if request.long else "tags" if request.tags else "short"
        yield Progress(0, TOKENS[kind])
        picture = media.on_ground(visible_picture(request))
        prompt, texts = PROMPTS[request.language][kind] if self._chats else "", list[tuple[str, float]]()
        self.load()
        for sampled in dict.fromkeys((0, (request.candidates or 1) - 1)):
            texts += yield from self._generate(picture, prompt, TOKENS[kind], sampled, request.seed or 0)
        best, *others = dict(sorted(texts, key=lambda one: -one[1])).items()
        facts = {"how": runtime.bits_depend_on(), **self._semantic.facts(best[0]), "score": best[1]}
        yield media.caption(best[0], others, True, request.language, seed=request.seed or 0, **facts)

    def _generate(self, picture: Any, prompt: str, most: int, sampled: int, seed: int) -> Any:
        """Yields progress; returns (text, score) of `sampled` texts, or with 0 of the likeliest."""
        model, processor = self._loaded
        inputs = _inputs(processor, picture, prompt)
        decoding = {"do_sample": True, "num_return_sequences": sampled} if sampled else {"do_sample": False}

        def work(report: Callable[[Any], None]) -> Any:
            import torch

            with torch.random.fork_rng(), torch.inference_mode():
                torch.manual_seed(seed)
                tensors = {name: tensor.to(model.device) for name, tensor in inputs.items()}
                tensors |= {name: one.to(model.dtype) for name, one in tensors.items() if one.is_floating_point()}
                options = {"max_new_tokens": most, "stopping_criteria": [_reporting(report)], "output_logits": True}
                return model.generate(**tensors, **options, **decoding, num_beams=1, return_dict_in_generate=True)

        with running(Path(self.model.name).name), closing(stepwise(work)) as steps:
            for step in steps:
                if isinstance(step, Returned):
                    return _texts(step.value, getattr(processor, "tokenizer", processor))
                yield Progress(min(step, most), most)


class _Processor:
    """Image processor and tokenizer of a model that has no processor for both."""

    def __init__(self, pictures: Any, tokenizer: Any) -> None:
        self.pictures, self.tokenizer = pictures, tokenizer

    def __call__(self, images: Any, return_tensors: str) -> Any:
        return self.pictures(images=images, return_tensors=return_tensors)


def _inputs(processor: Any, picture: Any, prompt: str) -> Mapping[str, Any]:
    """Tensors of the picture and, with a prompt, of a chat that asks it."""
    if not prompt:
        return processor(images=picture, return_tensors="pt")
    turn = {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]}
    options: dict[str, Any] = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
    return processor.apply_chat_template([turn], **options, return_tensors="pt")


def _reporting(report: Callable[[Any], None]) -> Any:
    """A stopping criterion that never stops, and reports the number of tokens written."""
    import torch

    count = iter(range(1, 1 << 30))

    def criterion(tokens: Any, scores: Any, **more: Any) -> Any:
        report(next(count))
        return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

    return criterion


def _texts(output: Any, tokenizer: Any) -> list[tuple[str, float]]:
    """Each text with the geometric mean of its tokens' probabilities, up to the token that ends it."""
    import torch

    tokens = output.sequences[:, -len(output.logits) :]
    chances = torch.stack(output.logits, 1).float().softmax(-1).gather(-1, tokens[..., None])[..., 0].tolist()
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    texts = []
    for row, chance in zip(tokens.tolist(), chances, strict=True):
        length = next((n for n, token in enumerate(row, 1) if token in ends), len(row))
        text = " ".join(tokenizer.decode(row[:length], skip_special_tokens=True).split())
        texts.append((text, round(math.exp(sum(math.log(max(one, 1e-9)) for one in chance[:length]) / length), 4)))
    return texts
