"""What is laid over a pipeline: LoRAs, by PEFT, and the IP-Adapter through which it sees a picture."""

from typing import Any

from models.messages import Refused
from studio import loras
from studio.backends import placing
from studio.backends.loading import first_line, loads
from studio.backends.pipeline_calls import ERRORS
from studio.disk.found import Found
from studio.disk.headers import read_header
from studio.files import sha256
from studio.requests import Lora


class Adapters:
    """The LoRAs and the IP-Adapter of a pipeline, whose components other pipelines share."""

    def __init__(self) -> None:
        self._loras: tuple[Lora, ...] = ()
        self._ip_adapter: tuple[Any, str] | None = None

    def set_ip_adapter(self, pipeline: Any, net: Found | None, digest: str = "", strength: float = 0.0) -> None:
        """Load that IP-Adapter, at that strength; None unloads the one there is. Refused where it does not fit."""
        if self._ip_adapter and self._ip_adapter != (pipeline, digest if net else ""):
            self._ip_adapter[0].unload_ip_adapter()
            self._ip_adapter = None
        if net is None:
            return
        if not self._ip_adapter:
            beside = loras.encoder(net)
            if getattr(pipeline, "image_encoder", None) is None and not beside.is_dir():
                raise Refused("control.no_encoder", path=str(net.path), folder=str(beside))
            about = {"image_encoder_folder": beside.name if beside.is_dir() else None, "local_files_only": True}
            try:
                with loads(net.path):
                    pipeline.load_ip_adapter(str(net.path.parent), subfolder="", weight_name=net.path.name, **about)
            except BaseException:
                pipeline.unload_ip_adapter()
                raise
            self._ip_adapter = placing.placed(pipeline), digest
        pipeline.set_ip_adapter_scale(strength)

    def set_loras(self, pipeline: Any, wanted: tuple[Lora, ...]) -> None:
        """Load these LoRAs and no others. Refused where a file has changed, or fits nothing in the pipeline."""
        if wanted == self._loras:
            return
        self._loras = ()
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
        self._loras = wanted


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
