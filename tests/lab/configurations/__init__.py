"""Server configurations as people have them, each with a client and a death of its master."""
