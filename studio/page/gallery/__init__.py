"""The tab that holds all pictures: found, marked, put together, thrown away."""
