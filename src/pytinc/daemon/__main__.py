"""``python -m pytinc.daemon``: the same as the command pytincd."""

from __future__ import annotations

import sys

from pytinc.daemon.app import main

if __name__ == "__main__":
    sys.exit(main())
