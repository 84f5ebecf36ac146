"""What one node knows of an instance's clients, as source and as standby. Pure."""
