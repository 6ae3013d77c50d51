"""``python -m pytinc``: the same as the ``pytinc`` command."""

from __future__ import annotations

import sys

from pytinc.cli.app import main

if __name__ == "__main__":
    sys.argv[0] = "pytinc"
    sys.exit(main())
