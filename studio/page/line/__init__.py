"""The Queue tab: what is being made, what waits, what went wrong, what has just been made."""
