"""The parts of ``benchmarks/pairs.py`` and ``failover.py``: networks to compare, figures, and reports."""
