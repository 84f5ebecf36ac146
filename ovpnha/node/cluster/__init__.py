"""The other nodes as this one sees them, and what it says to them. Pure."""
