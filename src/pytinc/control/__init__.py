"""Requests and replies of the control socket, and a blocking client for the command."""
