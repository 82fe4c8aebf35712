"""What the picker of styles says."""

from studio.page.words import Said

say = Said(
    {
        "any": ("any", "任意"),
        "style": ("Style", "风格"),
    }
)
