"""Small programs that run inside the lab's namespaces, each alone in its process.

They are started as files, need only the standard library (the address watcher also pyroute2), take
their times from CLOCK_MONOTONIC, which all namespaces of a machine share, and append what they see
to a file, one event a line. Measuring in processes of their own keeps the lab's pauses out of the
figures.
"""
