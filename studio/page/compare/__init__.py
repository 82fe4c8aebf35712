"""The tab where two settings are compared on one labelled sheet."""
