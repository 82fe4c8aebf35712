"""The tab where stickers that belong together are made, looked at in small, and packed for a chat app."""
