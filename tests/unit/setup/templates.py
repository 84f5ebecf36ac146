"""The templates that are shipped."""

from __future__ import annotations

from ovpnha.runtime.thishost import read_templates

TEMPLATES = read_templates()
