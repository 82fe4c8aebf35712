"""LoRAs on a pipeline, by PEFT."""

from typing import Any

from models.messages import Refused
from studio import loras
from studio.backends.pipeline_calls import ERRORS, first_line
from studio.disk.headers import read_header
from studio.fields import Lora
from studio.files import sha256


class Adapters:
    """What is laid over the weights of a pipeline, whose components other pipelines share."""

    def __init__(self) -> None:
        self._worn: tuple[Lora, ...] = ()

    def wear(self, pipeline: Any, wanted: tuple[Lora, ...]) -> None:
        """These and no others. Refused where a file is another one by now, or fits nothing in the pipeline."""
        if wanted == self._worn:
            return
        self._worn = ()
        pipeline.unload_lora_weights()
        try:
            for number, one in enumerate(wanted):
                _load(pipeline, one, f"lora{number}")
            if wanted:
                names = [f"lora{number}" for number in range(len(wanted))]
                pipeline.set_adapters(names, adapter_weights=[one.weight for one in wanted])
        except BaseException:
            pipeline.unload_lora_weights()
            raise
        self._worn = wanted


def _load(pipeline: Any, one: Lora, adapter: str) -> None:
    path = loras.files().get(one.name)
    if path is None or sha256(path) != one.sha256:
        raise Refused("lora.changed", name=one.name)
    about: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "adapter_name": adapter}
    try:
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, **about)
    except ERRORS as error:
        raise Refused("lora.no_fit", path=str(path), problem=first_line(error)) from error
    if not any(adapter in names for names in pipeline.get_list_adapters().values()):
        raise Refused("lora.no_fit", path=str(path), problem=", ".join(sorted(read_header(path).shapes)[:2]))
