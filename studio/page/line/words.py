"""What the Queue tab says."""

from studio.page.words import Labels, Said

labels = Labels("line", {"tab": ("Queue", "队列")})

say = Said(
    {
        "state": ("At work: {running} · waiting: {waiting}", "进行中：{running} · 等待：{waiting}"),
        "idle": ("Nothing is being made.", "没有正在进行的任务。"),
        "paused": (
            "Paused: what is being made is finished, nothing else begins.",
            "已暂停：正在做的会做完，不再开始新的。",
        ),
        "pause": ("Pause", "暂停"),
        "go": ("Go on", "继续"),
        "cancel_all": ("Cancel all", "全部取消"),
        "retry_all": ("Try failed ones again", "重试出错的任务"),
        "line": ("At work and in line", "进行中与排队"),
        "wrong": ("Went wrong", "出错的任务"),
        "past": ("Done lately", "最近完成"),
        "first": ("First", "移到最前"),
        "up": ("Up", "上移"),
        "down": ("Down", "下移"),
        "cancel": ("Cancel", "取消"),
        "stop": ("Stop", "停止"),
        "finish": ("Stop after this picture", "做完这张就停"),
        "retry": ("Try again", "重试"),
        "back": ("Put it back in line", "重新排队"),
        "undo": ("Undo", "撤销"),
        "dismiss": ("Close", "关闭"),
        "place": ("{place} in line", "第 {place} 位"),
        "loading": ("Getting ready…", "准备中…"),
        "step": ("Step {step} of {total}", "第 {step}/{total} 步"),
        "left": ("{seconds} s left", "还需 {seconds} 秒"),
        "made": ("{made} of {count} made", "已完成 {made}/{count}"),
        "stopping": ("Stopping…", "正在停止…"),
        "stopping_after": ("Stops after this picture", "做完这张就停"),
        "more": ("And {count} more in line.", "后面还有 {count} 个任务。"),
        "notice": ("From the worker: {sentence}", "后台进程的消息：{sentence}"),
        "empty": ("Nothing waits", "没有等待的任务"),
        "empty_hint": (
            "What you ask for in Create stands here until it is made. It goes on when you close this page.",
            "在“生成”中提交的任务会在这里排队；关闭页面也会继续。",
        ),
        "untitled": ("without words", "没有文字"),
        "pictures": ("pictures: {count}", "{count} 张"),
        "steps": ("{value} steps", "{value} 步"),
        "guidance": ("guidance {value}", "引导 {value}"),
        "best_of": ("best of {value}", "{value} 选 1"),
        "seed": ("seed {value}", "种子 {value}"),
        "size": ("{value} px", "{value} 像素"),
        "without": ("without {words}", "不要 {words}"),
        "from_picture": ("from a picture", "从图片开始"),
        "painted": ("painted anew in part", "局部重画"),
        "bordered": ("with a border", "补画边缘"),
        "like_picture": ("like a picture", "参考图片"),
        "blended": ("a blend", "混合"),
        "took": ("{seconds} s", "{seconds} 秒"),
        "cancelled": ("stopped", "已停止"),
        "open": ("Open", "打开"),
        "gone": ("This job is not here any more.", "这个任务已不在了。"),
        "begun": (
            "Only what waits can be moved; this job has begun or ended.",
            "只能移动等待中的任务；它已开始或结束。",
        ),
        "ended": ("This job has ended.", "这个任务已结束。"),
        "unknown": (
            "The page asked for something that the studio does not know; reload it.",
            "页面请求了未知的操作；请刷新页面。",
        ),
        "was_cancelled": ("Cancelled: {count}", "已取消：{count} 个"),
        "was_retried": ("In line again: {count}", "已重新排队：{count} 个"),
        "was_finishing": ("It stops after this picture.", "做完这张就停。"),
        "silent": ("The studio does not answer. Is it still running?", "工作室没有回应，它还在运行吗？"),
        "details": ("In detail", "详情"),
    }
)

# What the script says by itself.
SCRIPT = ("silent",)
