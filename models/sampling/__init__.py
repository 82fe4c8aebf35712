"""From noise to clean latents: the loop, guidance and its hooks, the schedulers, and post-processing."""
