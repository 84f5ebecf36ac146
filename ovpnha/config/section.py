"""What all sections of the configuration share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What all sections share: frozen once read, unknown keys refused, types taken literally."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)
