"""The tabs of the page, one module each: `build` draws it and connects its events, `router` is what it fetches.

Tabs don't import each other: what several of them use is beside this folder.
"""
