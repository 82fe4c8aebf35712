"""What the Models tab says."""

from studio.page.words import Labels, Said

labels = Labels(
    "models",
    {
        "tab": ("Models", "模型"),
        "attribution": ("Whose pictures it learned from: names and licences", "训练图片的来源：作者与许可"),
    },
)

say = Said(
    {
        "ready": ("Ready", "可用"),
        "not_ready": ("Not ready", "不可用"),
        "name": ("Name", "名称"),
        "digest": ("Fingerprint", "指纹"),
        "sizes": ("Sizes", "尺寸"),
        "pixels": ("{sizes} pixels a side", "边长 {sizes} 像素"),
        "about_embedded": ("The studio's own model, in assets/weights", "本软件自带的模型，位于 assets/weights"),
        "about_fake": ("A stand-in that draws faces", "只会画脸的替身"),
        "figures": ("How good it was measured to be", "测得的指标"),
        "parts": ("What is installed", "已安装的部件"),
        "part": ("Part", "部件"),
        "state": ("State", "状态"),
        "size": ("Size", "大小"),
        "licence": ("Licence", "许可"),
        "verified": ("read through; sha256 as listed", "已通读，sha256 与清单一致"),
        "missing": ("missing", "缺失"),
        "all": ("All together", "合计"),
        "get": (
            "Missing parts come with the package: pip install --force-reinstall studio128. They can be trained, too:"
            " python -m models.train.",
            "缺失的部件随软件包提供：pip install --force-reinstall studio128；也可自行训练：python -m models.train。",
        ),
        "more": ("More about this part", "关于此部件"),
        "language": ("reads your words", "读懂文字"),
        "vision": ("sees pictures", "看懂图片"),
        "space": ("puts words and pictures in one space", "把文字和图片放进同一空间"),
        "autoencoder": ("turns pictures into numbers and back", "图片与数字互相转换"),
        "dit": ("draws", "作画"),
        "fast": ("draws sooner, in four steps instead of sixteen", "画得更快：四步代替十六步"),
        "vocabulary": ("knows which words it was taught", "记得学过哪些词"),
        "prototypes": ("what sets drew, which it draws from", "各套图的画法，作画时参照"),
        "wording": ("reads prompts in words it was taught", "用学过的词理解提示词"),
        "upscaler": ("makes pictures larger", "放大图片"),
        "judge": ("judges pictures in the table; has no part in making them", "在评测中评判图片，不参与生成"),
        "knows": ("What it knows", "它会什么"),
        "styles": ("Styles: {count}", "风格：{count} 种"),
        "concepts": ("Things and faces with a name: {count}", "有名字的事物与表情：{count} 种"),
        "such_as": ("Among them: {names}…", "例如：{names}……"),
        "try": ("Prompts to try", "可以试试的提示词"),
        "knows_not": ("What it does not know", "它不会什么"),
        "limits": (
            "It learned from stickers, emoji and icons and from nothing else: no photographs, no real people, no"
            " brands, hardly any writing. It reads English and Chinese.",
            "它只学过贴纸、表情和图标：没有照片、真人和品牌，几乎不会写字。它读得懂英文和中文。",
        ),
        "unknown": (
            "A word that it was never taught is named when you use it, with the nearest that it knows.",
            "用到它没学过的词时，会指出来，并给出最接近的词。",
        ),
        "fake_limits": (
            "It draws faces from prompt and seed, with no model at all: for trying the studio out.",
            "它没有模型，只按提示词和种子画脸：用来试用本软件。",
        ),
        "others": ("Other models", "其他模型"),
        "how": ("python app.py --model {name} opens the studio with it.", "python app.py --model {name} 即可使用。"),
        "home": ("Where your things lie", "您的内容存放处"),
        "kept": ("{pictures} pictures, {free} GB free", "{pictures} 张图片，剩余空间 {free} GB"),
        "doctor": ("Look for trouble", "检查问题"),
        "doctor_info": (
            "Reads every picture once and looks for what is missing, altered or cut short. It changes nothing.",
            "通读每张图片，查找缺失、被改动或不完整的文件，不做任何改动。",
        ),
        "looking": ("Looking…", "正在检查…"),
        "well": ("All is well: {pictures} pictures looked at.", "一切正常：已检查 {pictures} 张图片。"),
        "trouble": ("Found: {count}", "发现问题：{count}"),
        "more_trouble": (
            "and {count} more; `studio doctor` lists them all.",
            "以及另外 {count} 个；studio doctor 会全部列出。",
        ),
        "what": ("What", "问题"),
        "file": ("File", "文件"),
        "todo": ("What to do", "怎么办"),
        "missing file": ("missing file", "文件缺失"),
        "cut short": ("cut short", "文件不完整"),
        "altered or rotten": ("altered or rotten", "被改动或损坏"),
        "unfinished file": ("unfinished file", "未写完的文件"),
        "not in the gallery": ("not in the gallery", "不在图库中"),
        "damaged database": ("damaged database", "数据库损坏"),
        "worker": ("The worker last said: {sentence}", "工作进程最近的消息：{sentence}"),
    }
)
