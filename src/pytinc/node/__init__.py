"""The node as one object: events in, actions out."""
