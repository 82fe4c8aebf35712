"""All that the page says, in English and Chinese.

Labels are translated in the browser (gr.I18n); what changes while a job runs is written here, in the language that
the browser asks for.
"""

from typing import Any

LABELS: dict[str, tuple[str, str]] = {
    "prompt": ("What should it be?", "想要什么？"),
    "prompt_hint": ("a smiling cat with heart eyes · 戴帽子的小狗", "戴帽子的小狗 · a smiling cat with heart eyes"),
    "style": ("Style", "风格"),
    "count": ("How many", "数量"),
    "make": ("Make stickers", "生成贴纸"),
    "stop": ("Stop", "停止"),
    "examples": ("Try one", "试一试"),
    "more": ("More settings", "更多设置"),
    "negative": ("Without", "不要出现"),
    "negative_hint": ("what should not be in it", "不想看到的东西"),
    "like": ("Like this picture", "参考图片"),
    "like_info": ("Its meaning is taken, not its pixels. Words may be left out.", "取其含义而非像素，可以不写文字。"),
    "seed": ("Seed", "随机种子"),
    "seed_hint": ("a new one each time", "每次都不同"),
    "seed_info": ("The same seed makes the same picture.", "相同的种子得到相同的图片。"),
    "steps": ("Steps", "步数"),
    "guidance": ("Guidance", "引导强度"),
    "guidance_info": ("How closely to keep to the words", "贴合文字的程度"),
    "scheduler": ("Sampler", "采样器"),
}

SAID: dict[str, tuple[str, str]] = {
    "tagline": ("Stickers from your words, made on this computer.", "用一句话，在自己的电脑上生成贴纸。"),
    "empty": ("Your stickers appear here", "贴纸会出现在这里"),
    "empty_hint": ("Type a few words and press Enter, or pick an example.", "输入几个词后按回车，或点选一个示例。"),
    "before": ("Made before", "之前的作品"),
    "waiting": ("Waiting: {ahead} before this one", "排队中：前面还有 {ahead} 个"),
    "loading": ("Loading the model…", "正在加载模型…"),
    "step": ("Step {step} of {total}", "第 {step} 步，共 {total} 步"),
    "left": ("{seconds} s left", "还需 {seconds} 秒"),
    "done": ("{count} made in {seconds} s", "{count} 张，用时 {seconds} 秒"),
    "found": ("Made before: here it is again", "之前做过，直接取出"),
    "cancelled": ("Stopped; finished stickers are kept.", "已停止，完成的贴纸已保存。"),
    "unknown": ("I don't know {word}; nearest: {nearest}.", "我不认识{word}；最接近的是：{nearest}。"),
    "unknown_near": ("I don't know {word}.", "我不认识{word}。"),
    "download": ("Download", "下载"),
    "again": ("More like this", "更多类似的"),
    "seed": ("seed {seed}", "种子 {seed}"),
}


def language(header: str | None) -> str:
    """ "zh" or "en" from an Accept-Language header: the browser's first choice."""
    return "zh" if (header or "").lower().startswith("zh") else "en"


def say(key: str, spoken: str, **values: Any) -> str:
    """One of SAID in a language, filled in. Plain text: it still has to be escaped for HTML."""
    return SAID[key][spoken == "zh"].format(**values)


def translations() -> dict[str, dict[str, str]]:
    """LABELS as gr.I18n takes them."""
    english, chinese = ({key: both[i] for key, both in LABELS.items()} for i in (0, 1))
    return {"en": english, "zh": chinese, "zh-CN": chinese, "zh-TW": chinese}
