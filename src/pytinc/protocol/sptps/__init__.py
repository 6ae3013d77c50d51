"""tinc's "simple peer-to-peer security": handshake, stream and datagram sessions."""
