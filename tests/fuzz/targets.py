"""All fuzz targets."""

from fuzz import configuration, control, parsers, sessions
from fuzz.registry import TARGETS

__all__ = ["TARGETS", "configuration", "control", "parsers", "sessions"]
