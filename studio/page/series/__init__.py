"""Jobs that were asked for together, and what the tabs that have such series share."""
