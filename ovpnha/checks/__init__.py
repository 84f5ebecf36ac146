"""Checks of the service: when each runs, and what its results mean. Pure."""
