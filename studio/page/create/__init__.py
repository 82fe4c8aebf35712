"""The tab where pictures are made: prompt and settings on one side, what comes of them on the other."""
