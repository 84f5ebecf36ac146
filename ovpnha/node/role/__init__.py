"""What this node is to its clients, and when that changes. Pure."""
