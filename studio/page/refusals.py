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
    (r"shape must be one of (.*), not (.*)\.", "shape 必须是 {1} 之一，而不是 {2}。"),
    (rf"unknown style '(.*)'{_HINT}; .*", "没有名为“{1}”的风格{near}。"),
    (rf"unknown scheduler '(.*)'{_HINT}; there are (.*)\.", "没有名为“{1}”的采样器{near}；可用的有：{3}。"),
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
    (r"the disk that holds (.*) is full; .*", "{1} 所在的磁盘已满；请腾出空间。"),
    (r"(.*) can't be written to; .*", "{1} 无法写入；请换一个文件夹。"),
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
