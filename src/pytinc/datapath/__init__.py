"""The hot path: batches of frames and datagrams in, batches out."""
