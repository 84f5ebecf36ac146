"""Our OpenVPN: the channel to it, and what is known of it. Pure."""
