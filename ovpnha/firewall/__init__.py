"""Packet filter and address translation of a node: rules read, judged, and made; pure."""
