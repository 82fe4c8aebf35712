"""Where a pipeline computes, and in which numbers."""

from typing import TYPE_CHECKING, Any

from models.hardware import native_dtype

if TYPE_CHECKING:
    import torch


def device() -> "torch.device":
    """The accelerator, where there is one."""
    import torch

    return torch.accelerator.current_accelerator() or torch.device("cpu")


def dtype() -> "torch.dtype":
    """What the device computes fast in."""
    import torch

    return native_dtype() if device().type == "cpu" else torch.bfloat16


def placed(pipeline: Any) -> Any:
    """A pipeline that was just loaded, ready to be called."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device())
