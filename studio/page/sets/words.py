"""What the Sets tab says."""

from studio.page.words import Labels, Said

labels = Labels(
    "sets",
    {
        "tab": ("Sets", "套图"),
        "subject": ("Who or what?", "谁，或什么？"),
        "subject_hint": ("cat · a red panda · 小狗", "小狗 · 熊猫 · cat"),
        "emotion": ("Which emotion?", "哪种情绪？"),
        "emotion_hint": ("happy · in love · 生气", "生气 · 开心 · happy"),
        "emotions_words": ("In these emotions", "以下情绪"),
        "subjects_words": ("On these", "以下对象"),
        "style_words": ("Of these", "以下事物"),
        "style_hint": ("cat, dog, pizza", "猫，狗，披萨"),
        "words_info": ("Separated by commas; left empty: the usual six", "用逗号分隔；留空则用常用的六个"),
        "list_info": ("Separated by commas or lines", "用逗号或换行分隔"),
        "usual_emotions": (
            "happy, crying, angry, surprised, in love, sleepy",
            "开心，哭泣，生气，惊讶，恋爱，困倦",
        ),
        "usual_subjects": ("cat, dog, panda, fox, frog, rabbit", "猫，狗，熊猫，狐狸，青蛙，兔子"),
        "seed": ("Seed, the same for all", "种子，全套相同"),
        "seed_hint": ("a new one each time", "每次都不同"),
        "make": ("Make the set", "生成套图"),
    },
)

say = Said(
    {
        "kind": ("What kind of set?", "哪种套图？"),
        "emotions": ("One subject, many emotions", "一个对象，多种情绪"),
        "subjects": ("One emotion, many subjects", "一种情绪，多个对象"),
        "style": ("One style, a list of things", "一种风格，一串事物"),
        "empty": ("A family of stickers", "一家子贴纸"),
        "empty_hint": (
            "All of a set grow from the same noise, so they look like one family. Say who, then press the button.",
            "同一套图由相同的噪声生成，看起来像一家。写下对象，然后点按钮。",
        ),
        "need_style": ("Pick the style first.", "请先选择风格。"),
        "name": ("Name of the pack", "套图名称"),
        "small": ("As small as in a chat", "聊天中的大小"),
        "size": ("{size} px", "{size} 像素"),
        "cover": ("Cover", "封面"),
        "make_cover": ("Make it the cover", "设为封面"),
        "outline": ("White outline", "白色描边"),
        "packs": ("Pack for", "打包给"),
        "packing": ("Packing…", "正在打包…"),
        "takes": ("{title}: {count} pictures", "{title}：{count} 张"),
        "not_yet": ("Packs can be made when all pictures are there.", "所有图片完成后即可打包。"),
        "yours": ("Your sets", "您的套图"),
    }
)
