"""The `tinc` command line."""
