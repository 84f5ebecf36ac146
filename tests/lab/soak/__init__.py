"""Failovers of mixed kinds in a row, with clients that come and go: ``make soak``."""
