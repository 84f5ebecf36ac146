"""OpenVPN's management channel: bytes in, notices and replies out; commands in, bytes out.

Pure: it never touches a socket, a clock or the role. The contract is docs/management.md.
"""
