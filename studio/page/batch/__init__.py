"""The tab where a file of prompts becomes many pictures."""
