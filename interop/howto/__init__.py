"""The how-to for a virtual address, typed into real hosts: ``python -m howto`` from ``interop/``.

`howto.story` describes the hosts and the steps. It is played on two kinds of machines (`howto.namespaces`,
`howto.containers`). `howto.report` writes which nodes were C and which pytinc, which steps passed, and how
long the failover took. ``interop/test_howto.py`` plays the same in the test run.
"""
