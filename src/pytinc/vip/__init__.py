"""The guard of shared addresses: pure state machines, no I/O, no clock, no randomness of their own."""
