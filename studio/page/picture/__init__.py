"""One picture in large, over whatever tab it was opened from: looked at, marked, downloaded, or used for the next."""
