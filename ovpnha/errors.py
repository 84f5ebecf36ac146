"""The exceptions of ovpnha, and what makes a text from outside fit for one line.

Every exception names the thing that is wrong and, if there is one, the fix.

No exception text ever carries key material or bytes that came from the network.
"""


class OvpnhaError(Exception):
    """Base of all errors that ovpnha raises on purpose."""


class ConfigError(OvpnhaError):
    """The configuration or the key file cannot be used; the text names the field and the fix."""


class ManagementError(OvpnhaError):
    """OpenVPN's management channel broke its contract (docs/management.md)."""


class PasswordAsked(ManagementError):
    """OpenVPN's management socket asks for a password."""


class RefusedDatagram(OvpnhaError):
    """A datagram was refused. ``reason`` is a short constant word, the label of a counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TransitionError(OvpnhaError):
    """The role machine was asked for a transition that its table does not have: a bug of ours."""


def printable(text: str) -> str:
    """What comes from outside, fit for one line: nothing in it moves a cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)
