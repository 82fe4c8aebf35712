"""What the Create tab says."""

from studio.page.words import Labels, Said

labels = Labels(
    "create",
    {
        "tab": ("Create", "生成"),
        "prompt": ("What should it be?", "想要什么？"),
        "prompt_hint": ("a smiling cat with heart eyes · 戴帽子的小狗", "戴帽子的小狗 · a smiling cat with heart eyes"),
        "earlier": ("Earlier prompts", "用过的提示词"),
        "count": ("How many", "数量"),
        "make": ("Make stickers", "生成贴纸"),
        "examples": ("Try one", "试一试"),
        "more": ("More settings", "更多设置"),
        "negative": ("Without", "不要出现"),
        "negative_hint": ("what should not be in it", "不想看到的东西"),
        "like": ("Like this picture", "参考图片"),
        "like_info": (
            "Its meaning is taken, not its pixels. Words may be left out.",
            "取其含义而非像素，可以不写文字。",
        ),
        "seed": ("Seed", "随机种子"),
        "seed_hint": ("a new one each time", "每次都不同"),
        "seed_info": ("The same seed makes the same picture.", "相同的种子得到相同的图片。"),
        "dice": ("🎲 Another", "🎲 换一个"),
        "keep": ("Keep the last", "沿用上次"),
        "steps": ("Steps", "步数"),
        "guidance": ("Guidance", "引导强度"),
        "guidance_info": ("How closely to keep to the words", "贴合文字的程度"),
        "scheduler": ("Sampler", "采样器"),
        "scheduler_info": (
            "fast: four steps without guidance. Sooner there and a little worse; it does not heed Without.",
            "fast：四步、没有引导，更快但略差；不理会“不要出现”。",
        ),
        "best_of": ("Best of", "择优数量"),
        "best_of_info": (
            "So many are drawn for each picture, and the one nearest to the words is kept.",
            "每张图片画这么多张，留下与文字最接近的一张。",
        ),
        "size": ("Size in pixels", "尺寸（像素）"),
        "from": ("Start from a picture", "从一张图片开始"),
        "from_info": (
            "Paint over what should be drawn anew; without paint the whole picture changes.",
            "涂抹要重画的部分；不涂抹则整张图片都会改变。",
        ),
        "canvas": ("The picture", "图片"),
        "strength": ("Change", "变化程度"),
        "strength_info": ("A little keeps its shapes, all forgets them", "小则保留形状，满则完全重画"),
        "expand": ("Draw a border round it", "在四周补画边缘"),
        "blend": ("Blend two pictures", "混合两张图片"),
        "first": ("One", "甲"),
        "second": ("The other", "乙"),
        "between": ("From one to the other", "从甲到乙"),
        "between_info": (
            "0 is the one, 1 the other. Words in the prompt join in.",
            "0 是甲，1 是乙；提示词也会一起起作用。",
        ),
        "clear": ("Clear pictures", "清除图片"),
    },
)

say = Said(
    {
        "empty": ("Your stickers appear here", "贴纸会出现在这里"),
        "empty_hint": ("Type a few words and press Enter, or pick an example.", "输入几个词后按回车，或点选一个示例。"),
        "before": ("Made before", "之前的作品"),
        "waiting": ("Waiting: {ahead} before this one", "排队中：前面还有 {ahead} 个"),
        "paused": ("Paused: press Go on in the Queue tab", "已暂停：请在“队列”中点“继续”"),
        "loading": ("Loading the model…", "正在加载模型…"),
        "step": ("Step {step} of {total}", "第 {step} 步，共 {total} 步"),
        "left": ("{seconds} s left", "还需 {seconds} 秒"),
        "done": ("{count} made in {seconds} s", "{count} 张，用时 {seconds} 秒"),
        "found": ("Made before: here it is again", "之前做过，直接取出"),
        "cancelled": ("Stopped; finished stickers are kept.", "已停止，完成的贴纸已保存。"),
        "unknown": ("I don't know {word}; nearest: {nearest}.", "我不认识{word}；最接近的是：{nearest}。"),
        "unknown_near": ("I don't know {word}.", "我不认识{word}。"),
        "read_as": (
            "Read as: {words}. In quotation marks it is read word for word.",
            "理解为：{words}。加引号则逐字理解。",
        ),
        "stop": ("Stop", "停止"),
        "finish": ("Stop after this picture", "做完这张就停"),
        "stopping": ("Stopping…", "正在停止…"),
        "stopping_after": ("Stops after this picture", "做完这张就停"),
        "download": ("Download", "下载"),
        "again": ("More like this", "更多类似的"),
        "seed": ("seed {seed}", "种子 {seed}"),
        "restored": ("The settings of that picture are back.", "已恢复那张图片的设置。"),
        "no_settings": (
            "That picture says nothing about how it was made; it is used as the picture to start from.",
            "那张图片没有记录制作方式；已作为起始图片。",
        ),
        "given": ("It is ready below: change what you like, then make it.", "已放入下方：修改后即可生成。"),
        "beyond": (
            "The inputs here can't hold all of it; left out: {names}.",
            "这里的输入框放不下全部内容；未恢复：{names}。",
        ),
        "of_mix": ("parts of its mix or their weights", "混合的部分内容或权重"),
        "of_expand": ("how wide its border is", "边缘的宽度"),
        "of_strength": ("how much was changed", "变化程度"),
    }
)
