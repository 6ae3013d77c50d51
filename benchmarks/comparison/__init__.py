"""What ``benchmarks/pairs.py`` is made of: tunnels to compare, their figures, and the report."""
