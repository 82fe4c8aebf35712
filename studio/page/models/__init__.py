"""The tab that says what the studio draws with: what is installed, whose it is, how good it is, and what it knows."""
