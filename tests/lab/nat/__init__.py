"""Connections behind every kind of firewall and NAT, over moves of the VIP: ``make nat``."""
