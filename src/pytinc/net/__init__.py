"""asyncio, sockets and the TAP device: all waiting happens here."""
