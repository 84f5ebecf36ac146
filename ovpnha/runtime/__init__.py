"""The shell of a node: sockets, clocks, files and processes around the pure core. No policy."""
