"""The one exception of the lab."""

from ovpnha.errors import OvpnhaError


class LabError(OvpnhaError):
    """The lab could not build something, or something did not happen in time; the text names it."""
