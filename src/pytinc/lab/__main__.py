"""``python -m pytinc.lab COMMAND...``: run a command where it may make network namespaces.

As root it just runs the command, otherwise it runs it inside a user namespace (``lab.privileges``). ``make
test`` runs the interop tests this way.
"""

from __future__ import annotations

import os
import sys

from pytinc.lab.namespaces import LabError
from pytinc.lab.privileges import ensure_root


def main() -> None:
    """Replace this process by the command in the arguments."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m pytinc.lab COMMAND [ARGUMENT...]")
    try:
        ensure_root([sys.executable, "-m", "pytinc.lab", *sys.argv[1:]])
    except LabError as error:
        # Run the command all the same: tests say themselves what they cannot do here.
        sys.stderr.write(f"pytinc.lab: {error}\n")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (that is the point)


if __name__ == "__main__":
    main()
