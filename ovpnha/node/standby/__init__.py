"""The duties of a node that keeps a copy. Pure."""
