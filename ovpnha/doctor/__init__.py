"""What is wrong with a node and its cluster: facts in, findings with their fixes out."""
