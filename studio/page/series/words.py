"""What is said of a series, and of its places, on every tab that has them."""

from studio.page.words import Said

say = Said(
    {
        "gone": ("That is not here any more.", "它已不在了。"),
        "progress": ("{done} of {total} done", "已完成 {done} / {total}"),
        "progress_of": ("Done", "进度"),
        "failed": ("{count} failed", "失败 {count}"),
        "left": ("{count} left", "剩余 {count}"),
        "stopped": ("{count} stopped", "已停止 {count}"),
        "paused": ("the queue is paused", "队列已暂停"),
        "about": ("about {time}", "约 {time}"),
        "seconds": ("{count} s", "{count} 秒"),
        "minutes": ("{count} min", "{count} 分钟"),
        "hours": ("{count} h", "{count} 小时"),
        "zip": ("All pictures (ZIP)", "全部图片（ZIP）"),
        "retry": ("Try the failed ones again", "重试失败的任务"),
        "stop": ("Stop the rest", "停止其余任务"),
        "go_on": ("Go on with the rest", "继续其余任务"),
        "remove": ("Take off this list", "从列表移除"),
        "look": ("Look at {title}", "查看 {title}"),
        # What has become of a place.
        "waiting": ("waiting", "等待中"),
        "drawing": ("being drawn", "绘制中"),
        "cancelled": ("stopped", "已停止"),
        "deleted": ("deleted", "已删除"),
    }
)
