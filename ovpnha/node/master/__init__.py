"""The duties of a node whose clients these are. Pure."""
