"""The lab: a whole cluster, its clients and its networks on one machine, in network namespaces.

It drives the daemon, the configuration and the keepalived file that users run, kills what users
fear to lose, and measures with one clock. It never touches anything outside the namespaces and the
directory it made, and leaves nothing behind. It is no part of what is
installed.
"""
