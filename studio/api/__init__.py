"""The doors for programs: A1111's API, the studio's own, and the guard before all that listens."""
