"""Pictures on their way out: as SVG, with a sticker outline, for chat apps, as packs."""
