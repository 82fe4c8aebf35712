"""The web page: what a person sees. It computes nothing itself; it asks the worker and watches."""
