"""The tabs of the page, one module each; a module that is put here is a tab.

    ORDER            its place among the tabs
    build(context)   draws it and connects its events
    router(context)  its own routes, if it has any
    TABS[task]       (of `studio.page.polling`) its name, if it shows the jobs of a task

Tabs don't import each other: what several of them use is beside this folder.
"""
