"""The only importer of `cryptography` and `nacl`: ciphers, key expansion and key files."""
