"""In which floating-point type this machine computes fast."""

import torch


def native_dtype() -> torch.dtype:
    """bf16 where this CPU computes in it, fp32 where it would be emulated."""
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    # The second asks oneDNN, which ONEDNN_MAX_CPU_ISA may hold to less than the CPU can.
    return torch.bfloat16 if native and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
