"""All fuzz targets."""

from fuzz import configuration, control, nodes, packets, parsers, sessions
from fuzz.registry import TARGETS

__all__ = ["TARGETS", "configuration", "control", "nodes", "packets", "parsers", "sessions"]
