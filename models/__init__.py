"""Networks, pipelines, presets, the sticker world and its training. Knows no job and no page."""
