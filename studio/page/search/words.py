"""What the Search tab says."""

from studio.page.words import Labels, Said

labels = Labels(
    "search",
    {
        "tab": ("Search", "搜索"),
        "words": ("What should they show?", "想找什么？"),
        "words_hint": ("a happy animal", "开心的动物"),
        "like": ("Like this picture", "与这张图片相似"),
        "without": ("But not", "但不要"),
        "without_hint": ("hat", "帽子"),
        "find": ("Search", "搜索"),
    },
)

say = Said(
    {
        "empty": ("Find what means the same", "按含义查找"),
        "empty_hint": (
            "Words in English or Chinese, a picture, or both. What says your words comes first, then what means them.",
            "输入中文或英文、一张图片，或两者都用。先列出包含这些词的图片，再列出意思相近的。",
        ),
        "looking": ("Looking…", "正在查找…"),
        "nothing": ("Nothing was found", "没有找到"),
        "nothing_hint": ("Use other words, or take away less.", "换个说法，或少排除一些。"),
        "bare": ("There is nothing to search yet", "还没有可搜索的图片"),
        "bare_hint": (
            "Pictures that you make in Create can be found here.",
            "在“生成”中做的图片都可以在这里找到。",
        ),
        "unsaid": ("Say what to look for, or add a picture.", "请输入要找的内容，或添加一张图片。"),
        "found": ("Found: {count} · nearest first", "找到 {count} 张 · 最接近的在前"),
        "score": ("How near in meaning: 1 is the same", "含义的接近程度：1 表示相同"),
        "says": ("says it", "包含该词"),
    }
)
