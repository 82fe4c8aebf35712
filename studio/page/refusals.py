"""Refusals in Chinese. The studio says them in English, whatever the door; the page says those that it knows again."""

import re

# Patterns of whole sentences, and what they say. A group stands in the place of its name or number; a hint of what may
# have been meant is taken along in English quotation marks, as it was typed.
_HINT = r"(?: \(did you mean '(?P<near>[^']*)'\?\))?"
_KNOWN: tuple[tuple[str, str], ...] = (
    (r"the prompt is empty; .*", "提示词是空的；请写出想要什么，例如：一只微笑的猫。"),
    (rf"there is no setting '(.*)'{_HINT}\.", "没有名为“{1}”的设置{near}。"),
    (r"(\S+) is given twice\.", "{1} 出现了两次。"),
    (r"(\S+) is given twice, the second time as (\S+)\.", "{1} 出现了两次，第二次写作 {2}。"),
    (r"(\S+) must be a whole number, not (.*)\.", "{1} 必须是整数，而不是 {2}。"),
    (r"(\S+) must be a number, not (.*)\.", "{1} 必须是数字，而不是 {2}。"),
    (r"(\S+) must be text, not (.*)\.", "{1} 必须是文字，而不是 {2}。"),
    (r"(\S+) must be between (\S+) and (\S+), not (\S+)\.", "{1} 必须在 {2} 到 {3} 之间，而不是 {4}。"),
    (r"the seed must be between (\S+) and (\S+), not (\S+)\.", "种子必须在 {1} 到 {2} 之间，而不是 {3}。"),
    (r"size must be (.*), not (\d+)\b.*", "尺寸必须是 {1}，而不是 {2}。"),
    (r"a strength of 0 only enlarges the picture; give a size of (.*)\.", "强度为 0 时只放大图片；请把尺寸设为 {1}。"),
    (r"shape must be one of (.*), not (.*)\.", "shape 必须是 {1} 之一，而不是 {2}。"),
    (rf"unknown style '(.*)'{_HINT}; .*", "没有名为“{1}”的风格{near}。"),
    (rf"unknown scheduler '(.*)'{_HINT}; there are (.*)\.", "没有名为“{1}”的采样器{near}；可用的有：{3}。"),
    (r"(\S+) draws with (\S+) (\S+) only; .*", "采样器 {1} 的 {2} 只能是 {3}；请去掉，或换一个采样器。"),
    (r"(\S+) hears no negative prompt; .*", "采样器 {1} 没有引导，不看反向提示词；请去掉，或换一个采样器。"),
    (r"(.*) has no fast variant; .*", "{1} 没有快速版本；请去掉 fast。"),
    (r"the fast variant is another one since .*", "快速版本的权重在此期间换过了；请重新提交。"),
    (r"(\S+) is about a picture to start from; give it as image\.", "{1} 需要一张起始图片；请用 image 给出。"),
    (r"(\S+) and (\S+) exclude each other; .*", "{1} 与 {2} 不能同时使用；请只留一个。"),
    (r"variations says how many pictures to make; .*", "variations 已说明张数；请去掉 count。"),
    (r"a mix has at most (\d+) parts, not (\d+)\.", "混合最多 {1} 个部分，而不是 {2} 个。"),
    (r"the mix only takes away; .*", "混合里只有要去掉的；请用文字或图片说明从什么里去掉。"),
    (r"the weight of a mix is between .*, not (\S+)\.", "混合的权重须在 -10 到 10 之间且不为 0，而不是 {1}。"),
    (r"the weight of (.*) is (\S+); weights go from 0 to (\S+)\.", "{1} 的权重是 {2}；权重须在 0 到 {3} 之间。"),
    (r"the (\S+) has a control character \((.*)\); .*", "{1} 含有控制字符（{2}）；请去掉。"),
    (r"the (\S+) has ([\d,]+) characters; make it ([\d,]+) at most\.", "{1} 有 {2} 个字符；最多 {3} 个。"),
    (
        r"(.*): (.*); write \\\{ or \\\} for a brace that is meant\.",
        "{1}：花括号不成对（{2}）；要写花括号本身，请用 \\{{ 或 \\}}。",
    ),
    (rf"there is no wildcard (__.*?__){_HINT}: .*", "没有通配列表 {1}{near}；要写两个下划线本身，请用 \\__。"),
    (r"the wildcard (__.*__) has no entries; .*", "通配列表 {1} 是空的；请写入内容。"),
    (r"the wildcard (__.*__) leads out of .*", "通配列表 {1} 指向文件夹之外；请写文件夹内的列表名。"),
    (r"the wildcard (.*) names itself; .*", "通配列表 {1} 引用了自己；请断开这个循环。"),
    (r"the prompt grows beyond .*", "提示词展开后太长；请用更短的列表。"),
    (r"the prompt makes more than .*", "提示词的选择太多；请写得简单些。"),
    # Weights.
    (
        r".* lists no part '(\S+)'; install a release that has it, or train it(?:; .*)?\.?",
        "模型缺少“{1}”部分；请安装包含它的版本，或自行训练。先试用请加 --model fake。",
    ),
    (r"no weights in (.*): .*", "{1} 里没有模型权重；请重新安装。先试用请加 --model fake。"),
    (r"(.*) is missing; install the package again(?:; .*)?\.?", "缺少 {1}；请重新安装。"),
    (r"(.*) is damaged: .*", "{1} 已损坏；请重新安装。"),
    (r"(.*) is altered or cut short \(sha256 .*", "{1} 被改动或不完整，因此没有加载；请重新安装。"),
    (r"(?:.*; )?(\d+) px need the part '(\S+)', which is not in (.*)", "{1} 像素需要“{2}”部分，而 {3} 里没有。"),
    # Pictures that are given, and what is said of them.
    (r"(.*) is not a picture that can be read \(.*", "{1} 不是可以读取的图片；可用 PNG、WebP、JPEG 和 GIF。"),
    (r"(.*) is larger than (\d+) MB; give a smaller picture\.?", "{1} 大于 {2} MB；请换一张小一些的图片。"),
    (r"(.*) has (.*) pixels; at most (\d+) are read, .*", "{1} 有 {2} 个像素；最多 {3} 个，请缩小。"),
    (r"(.*) has too many pixels \(at most (\d+)\); .*", "{1} 像素太多（最多 {2} 个）；请缩小。"),
    (r"(.*) is damaged or cut short.*", "{1} 已损坏或不完整。"),
    (r"(.*) does not exist; give a picture file .*", "{1} 不存在；请给出图片文件。"),
    (r"the mask (.*) has (.*) pixels and the picture (.*); .*", "蒙版 {1} 是 {2} 像素，图片是 {3}；请用同样的尺寸。"),
    (r"the mask (.*) is black all over; .*", "蒙版 {1} 全是黑色；请把要重画的部分涂成白色。"),
    (r"the painted layers differ in size; .*", "涂抹的图层大小不同；请清除图片后重新涂抹。"),
    (r"(.*) is no base64 of a picture file; .*", "{1} 不是图片文件的 base64；不会读取网址和路径。"),
    (r"(.*) holds no settings\.", "{1} 没有记录制作方式。"),
    (
        r"a strength of 0 only enlarges .*; leave (\S+) out, .*",
        "强度为 0 时只放大图片；请去掉 {1}，或提高强度。",
    ),
    (r"(.*) makes pictures from words only; .*", "{1} 只能用文字生成图片。"),
    (r"(.*) can't start from a picture; .*", "{1} 不能从图片开始。"),
    (r"a rating is 0 to (\d+), not (\d+)\.", "评分是 0 到 {1}，而不是 {2}。"),
    (r"a tag or a board has a name of 1 to 100 characters\.", "标签和图板的名称须有 1 到 100 个字符。"),
    (r"a note has ([\d,]+) characters at most\.", "备注最多 {1} 个字符。"),
    (r"the text holds half a character .*", "文字里有半个字符；请重新输入。"),
    # What a dropped picture asks for that is not here.
    (r"it is no picture but (.*), which can't be made from here\.", "它不是图片请求而是 {1}，无法在这里制作。"),
    (r"the size (\S+): pictures are (.*) here\.", "尺寸 {1}：这里的图片是 {2}。"),
    (r"settings that there are not here: (.*)\.", "这里没有的设置：{1}。"),
    (r"the model (.*), which is not here\.", "这里没有模型 {1}。"),
    (r"the picture (.*) that it was made from is not beside it, .*", "制作时所用的图片 {1} 已不在，或已是另一张。"),
    # Prompt files.
    (r"--(\S+) has no value\.", "--{1} 后面没有值。"),
    (r"(\S+) has no value\.", "{1} 后面没有值。"),
    (r"(.*) is no flag; put text with spaces in \"quotes\"\.", '{1} 不是选项；带空格的文字请放在"引号"里。'),
    (r"a quotation mark is open \(.*\)\.", "引号没有成对。"),
    (r"([\d,]+) seeds in one line; give ([\d,]+) at most\.", "一行里有 {1} 个种子；最多 {2} 个。"),
    (r"the file is UTF-16; .*", "文件是 UTF-16 编码；请另存为 UTF-8。"),
    (r"the file is larger than (\d+) MB; .*", "文件大于 {1} MB；请改用逐行读取的 .jsonl。"),
    (r"byte (\d+) is zero; .*", "第 {1} 个字节是零；这不是文字。"),
    (r"byte (\d+) is not UTF-8; .*", "第 {1} 个字节不是 UTF-8；请把文件存为 UTF-8。"),
    (r"the line is longer than (\d+) KB; .*", "这一行超过 {1} KB；请拆开。"),
    (r"this is no JSON \((.*)\)\.", "这不是 JSON（{1}）。"),
    (r"the JSON is nested too deep\.", "JSON 嵌套太深。"),
    (r"a comma or the end of the list is missing\.", "缺少逗号或列表的结尾。"),
    (r"the file goes on after its end; .*", "文件在结尾之后还有内容；多个任务请放进 [方括号]。"),
    (r"a job is an object, .*", '任务要写成对象，例如：{{"prompt": "一只微笑的猫", "seed": 1}}。'),
    (r"a job is a prompt, .*", "任务要写成提示词，或带名称的设置。"),
    (r"(\S+) holds settings, .*", "{1} 里应是设置，例如：{1}: {{steps: 20}}。"),
    (r"matrix: (.*) is a list of values, .*", "matrix 里的 {1} 应是列表，例如：{1}: [1, 2]。"),
    (r"jobs is a list, .*", "jobs 应是列表，每项是提示词或设置，例如：jobs: [一只微笑的猫]。"),
    (r"the header is empty; .*", "表头是空的；它的单元格是设置的名称，例如：prompt,seed。"),
    (r"the table is broken here \((.*)\)\.", "表格在这里断开了（{1}）。"),
    (r"cell (\d+) \((.*)\) is under no name; .*", "第 {1} 格（{2}）没有对应的表头；含分隔符的内容请加引号。"),
    (r"the line asks for the model (.*); give --model, .*", "这一行要用模型 {1}；一批只能用一个模型。"),
    (r"another line makes a file (.*) already; .*", "另一行已经使用文件名 {1}；请换一个名称。"),
    (r"the picture (.*) is not in the studio's folder; .*", "图片 {1} 不在本软件的文件夹里；只能使用其中的图片。"),
    (r"(.*) asks for more than ([\d,]+) jobs; split it\.", "{1} 的任务超过 {2} 个；请拆分。"),
    (r"that file was not uploaded here; .*", "这个文件不是在这里上传的；请重新拖入。"),
    # Sets, packs and comparisons.
    (r"say a subject, .*", "请写下对象，例如：猫。"),
    (r"say an emotion, .*", "请写下情绪，例如：开心。"),
    (r"say what is to be in the set, .*", "请写下套图里有什么，例如：猫，狗，披萨。"),
    (r"a set has at most (\d+) pictures, not (\d+)\.", "一套最多 {1} 张，而不是 {2} 张。"),
    (r"a pack needs a name, .*", "请给套图起个名字。"),
    (r"not all pictures of the set are there; .*", "套图还没有全部完成；请等待，或继续其余任务。"),
    (r"a picture is gone or damaged; .*", "有图片丢失或损坏；“模型”页的“检查问题”会指出是哪张。"),
    (r"a pack for (.*) has (.*) pictures, not (\d+); .*", "{1} 需要 {2} 张图片，而不是 {3} 张。"),
    (r"say which values of (\S+) to compare, .*", "请写出要对比的 {1} 取值。"),
    (r"a grid can't vary '(.*)'.*", "无法对比“{1}”。"),
    (r"a grid has at most (\d+) values of (\S+), not (\d+)\.", "{2} 最多 {1} 个取值，而不是 {3} 个。"),
    (r"a grid has at most (\d+) pictures, not (.*)\.", "一次对比最多 {1} 张图片，而不是 {2}。"),
    (r"both axes vary (\S+); .*", "横向和纵向都是 {1}；请换掉一个。"),
    (r"the prompt does not say (.*); .*", "提示词里没有 {1}；第一个取值须是提示词里的词。"),
    (r"(.*) is no value of (\S+); write .*", "{1} 不是 {2} 的取值；可写 3、1-5、1-10 (+2) 或 1-10 [5]。"),
    (r"(.*) has no values of (\S+) with the step (.*)\.", "{1} 按步长 {3} 没有 {2} 的取值。"),
    (r"unknown model '(.*)'.*", "没有名为“{1}”的模型。"),
    (r"the model '(.*)' takes no argument; write (.*), not (.*)\.", "模型“{1}”不带参数；请写 {2}，而不是 {3}。"),
    (
        r"the model '(.*)' takes seconds a step, from 0 to (\d+), not (.*); .*",
        "模型“{1}”后面是每步的秒数，从 0 到 {2}，而不是 {3}；例如写 fake:0.5。",
    ),
    # Jobs and disks.
    (r"the memory does not suffice; .*", "内存不足；请一次少做几张。"),
    (r"the model is another one since .*", "提交之后模型已更换；请重新提交。"),
    (
        r"the worker .* in the middle of this job, (\d+) times; .*",
        "做这个任务时工作进程意外结束了 {1} 次；请单独重试，或一次少做几张。",
    ),
    (r"the worker process could not be started .*", "工作进程无法启动；原因见终端。"),
    (r"the worker's memory grew from (\d+) to (\d+) MB; .*", "工作进程的内存从 {1} MB 增至 {2} MB；已重新启动。"),
    (r"the model failed \((.*)\); .*", "模型出错（{1}）；请连同终端里的内容一起报告。"),
    (
        r"job (\S+) was put in line by another version .*",
        "任务 {1} 由另一版本的程序提交；请取消后重新提交。",
    ),
    (r"the studio was closed before this was done; .*", "还没做完程序就关闭了；重新打开后会继续。"),
    (r"the (?:job|question) was cancelled.*", "任务被取消了；请重新提交。"),
    (r"only jobs that wait can be moved; .*", "只能移动还在等待的任务；这个已经开始或结束。"),
    (r"(.*) is damaged; run: studio rebuild\.", "{1} 已损坏；请运行 studio rebuild。"),
    (r"(.*) is in use by another program for too long; .*", "{1} 被其他程序占用太久；请关闭它后重试。"),
    (r"(.*) can't be opened; .*", "{1} 无法打开；请换一个文件夹。"),
    (r"(.*) was written by a newer studio.*", "{1} 由更新版本的程序写成；请更新，或换一个文件夹。"),
    (r"the disk that holds (.*) is full; .*", "{1} 所在的磁盘已满；请腾出空间。"),
    (r"(.*) can't be written to; .*", "{1} 无法写入；请换一个文件夹。"),
    # What the look for trouble advises.
    (
        r"ask for it again; or, if it is meant .*",
        "请重新生成；如是有意删除，请运行 studio rebuild",
    ),
    (r"ask for it again: it is made anew", "请重新生成"),
    (r"restore it from a copy, or delete it and ask for it again", "请用备份恢复，或删除后重新生成"),
    (r"the next start of the studio removes it", "下次启动时会删除"),
    (r"run: studio rebuild", "请运行 studio rebuild"),
    (r"it is none of the studio's; move it away", "它不属于本软件；请移走"),
    (r"(.*) was changed (?:just now|after the job was put in line); ask again\.", "{1} 在提交后被改动；请重新提交。"),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), words) for pattern, words in _KNOWN)


def in_language(sentence: str, spoken: str) -> str:
    """A refusal in the language `spoken`, as far as it is known; any other stays as it is. Plain text."""
    if spoken != "zh":
        return sentence
    for pattern, words in _PATTERNS:
        if found := pattern.fullmatch(sentence):
            near = found.groupdict().get("near")
            hint = f"（是否想写“{near}”？）" if near else ""
            return words.format(None, *(group or "" for group in found.groups()), near=hint)
    return sentence
