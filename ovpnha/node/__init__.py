"""All policy of a node: events in, commands and outputs out. Pure."""
