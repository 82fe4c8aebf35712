"""What the Compare tab says."""

from studio.page.words import Labels, Said

labels = Labels(
    "compare",
    {
        "tab": ("Compare", "对比"),
        "prompt": ("What should it be?", "想要什么？"),
        "prompt_hint": ("a smiling cat", "一只微笑的猫"),
        "x": ("Across", "横向"),
        "y": ("Down", "纵向"),
        "values": ("Values", "取值"),
        "values_info": ("A list with commas, 1-5, 1-10 (+2) or 1-10 [5]", "用逗号分隔，或 1-5、1-10 (+2)、1-10 [5]"),
        "style": ("Style, unless it varies", "风格（若不对比）"),
        "seed": ("Seed, unless it varies", "种子（若不对比）"),
        "seed_hint": ("one for all pictures", "所有图片相同"),
        "make": ("Compare", "开始对比"),
    },
)

say = Said(
    {
        "prompt": ("words of the prompt", "提示词中的词"),
        "style": ("style", "风格"),
        "seed": ("seed", "种子"),
        "steps": ("steps", "步数"),
        "guidance": ("guidance", "引导强度"),
        "scheduler": ("sampler", "采样器"),
        "model": ("model", "模型"),
        "nothing": ("nothing", "无"),
        "any": ("any", "任意"),
        "empty": ("What does a setting do?", "某项设置有什么作用？"),
        "empty_hint": (
            "Pick one or two settings with some values. All pictures stand on one labelled sheet.",
            "选择一两项设置和若干取值，所有图片会排在一张带标签的图上。",
        ),
        "words_hint": (
            "For words of the prompt: first what the prompt says, then what stands in its place: cat, dog, fox.",
            "对比提示词时：先写提示词里的词，再写替换它的词，例如：猫，狗，狐狸。",
        ),
        "pictures": ("{columns} × {rows} = {count} pictures", "{columns} × {rows} = {count} 张图片"),
        "sheet": ("Contact sheet (PNG)", "对比图（PNG）"),
        "yours": ("Your comparisons", "您的对比"),
        "both": ("{down} ↓  {across} →", "{down} ↓  {across} →"),
        "untitled": ("comparison", "对比"),
    }
)
