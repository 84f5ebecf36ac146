"""High availability for OpenVPN: a stock client does not notice that its server died."""

__version__ = "0.1.0"
