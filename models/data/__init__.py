"""The sticker world: openly licensed pictures, their captions, scenes, motions and splits."""
