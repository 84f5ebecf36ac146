"""Beside an OpenVPN without the patch: who has which address, and nothing that carries keys."""
