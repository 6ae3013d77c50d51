"""All fuzz targets."""

from fuzz import parsers
from fuzz.registry import TARGETS

__all__ = ["TARGETS", "parsers"]
