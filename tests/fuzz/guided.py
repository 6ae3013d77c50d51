"""One target under atheris: `python -m fuzz.guided TARGET ...`, with the options of libFuzzer.

`fuzz.run` starts one such process per target. Modules of pytinc that are imported within the block below tell
libFuzzer which branches an input takes.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["pytinc"]):
    from fuzz.targets import TARGETS

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]].run)
    atheris.Fuzz()
