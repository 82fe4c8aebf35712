"""What the Batch tab says."""

from studio.page.words import Labels, Said

labels = Labels(
    "batch",
    {
        "tab": ("Batch", "批量"),
        "lines": ("Or paste lines here", "或在此粘贴多行"),
        "lines_hint": (
            "a smiling cat\na {red|blue} dragon --d 1,2,3\n一只戴帽子的小狗 --d 5",
            "一只戴帽子的小狗 --d 5\na smiling cat\na {red|blue} dragon --d 1,2,3",
        ),
        "lines_info": (
            "A prompt a line; --d seed, --n what should not be in it, --s steps, --l guidance, --f file name.",
            "每行一条提示词；--d 种子，--n 不要出现，--s 步数，--l 引导强度，--f 文件名。",
        ),
    },
)

say = Said(
    {
        "drop": ("Drop a prompt file here", "把提示词文件拖到这里"),
        "choose": ("or click to choose one", "或点击选择"),
        "kinds": (".txt · .jsonl · .json · .csv · .tsv · .yaml", ".txt · .jsonl · .json · .csv · .tsv · .yaml"),
        "reading": ("Reading…", "正在读取…"),
        "example": ("Show me an example", "给我一个示例"),
        "empty": ("Many stickers from one file", "一个文件，许多贴纸"),
        "empty_hint": (
            "Each line is a prompt with its own settings. You see what becomes of every line before anything is made.",
            "每一行都是一条提示词，可有自己的设置。开始之前，您会看到每一行的解析结果。",
        ),
        "pasted": ("pasted lines", "粘贴的文字"),
        "parsed": ("What the lines ask for", "各行的内容"),
        "jobs": ("Jobs: {count}", "任务：{count}"),
        "pictures": ("Pictures: {count}", "图片：{count}"),
        "bad": ("Lines that can't be done: {count}", "无法执行的行：{count}"),
        "no_pace": ("time: known after the first pictures", "时间：画出第一批图片后可知"),
        "go": ("Put them in line ({count})", "全部加入队列（{count}）"),
        "go_good": ("Put the good ones in line ({count})", "把可执行的加入队列（{count}）"),
        "only": ("Only what can't be done", "只看无法执行的"),
        "clear": ("Clear", "清除"),
        "nothing": ("There is no line that can be done.", "没有可以执行的行。"),
        "changed": (
            "The lines were changed meanwhile; look once more, then press again.",
            "内容刚刚有改动，请再看一遍后重新点击。",
        ),
        "read_again": (
            "The studio was started again, so the lines were read again; look once more, then press again.",
            "程序重新启动过，已重新读取各行；请再看一遍后重新点击。",
        ),
        "forgotten": (
            "The studio was started again and no longer has the file; drop it again.",
            "程序重新启动过，文件已不在；请重新拖入。",
        ),
        "lined": ("They are in line. You may close this page.", "已加入队列，可以关闭此页面。"),
        "ignored": ("Left out, for it means nothing here: {names}.", "已忽略在此无意义的设置：{names}。"),
        "line": ("Line", "行"),
        "prompt": ("Prompt", "提示词"),
        "style": ("Style", "风格"),
        "count": ("Count", "张数"),
        "seed": ("Seed", "种子"),
        "steps": ("Steps", "步数"),
        "guidance": ("Guidance", "引导"),
        "scheduler": ("Sampler", "采样器"),
        "at": ("Column {column}: ", "第 {column} 列："),
        "from_pictures": ("from pictures", "来自图片"),
        "rows": ("{first}–{last} of {total}", "第 {first}–{last} 项，共 {total} 项"),
        "earlier": ("Back", "上一页"),
        "later": ("Next", "下一页"),
        "more_bad": ("and {count} more", "以及另外 {count} 行"),
        "yours": ("Your batches", "您的批次"),
        "show": ("Show", "展开"),
        "hide": ("Hide", "收起"),
        "why": ("What failed, and why", "失败原因"),
        "more_failed": ("and {count} more", "以及另外 {count} 个"),
        "newest": ("The newest pictures", "最新图片"),
        "no_pictures": ("No picture yet.", "还没有图片。"),
    }
)
