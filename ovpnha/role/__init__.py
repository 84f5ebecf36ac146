"""The role machine of one OpenVPN instance. Pure."""
