"""What other libraries print while they load."""

import logging

for _name in ("torchao", "torch.utils._pytree", "diffusers.quantizers"):  # diffusers imports torchao where it is
    logging.getLogger(_name).setLevel(logging.ERROR)  # installed, which then names each of its files that doesn't fit


def silence() -> None:
    """Neither bars nor warnings of the libraries that load weights."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
