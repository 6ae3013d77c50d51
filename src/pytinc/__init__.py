"""A pure-Python mesh VPN node, compatible with tinc 1.1, that works as an Ethernet switch."""

__version__ = "0.1.0"
