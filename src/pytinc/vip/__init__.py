"""The guard of shared addresses, and virtual IPs by policy.

Pure state machines: no I/O, no clock, no randomness of their own.
"""
