"""The tabs of the page. Each module of this package is a tab.

    ORDER            its position
    build(context)   builds it and connects its events
    router(context)  its routes (optional)
    TABS[task]       (of `studio.page.polling`) its name, if it shows the jobs of a task

Tabs don't import each other. Shared code is in `studio/page`.
"""
