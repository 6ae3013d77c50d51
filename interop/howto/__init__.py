"""The how-to of a virtual address, typed into real hosts: ``python -m howto`` from ``interop/``.

One description of hosts and steps (`howto.story`), two kinds of machines to play it on (`howto.namespaces`,
`howto.containers`), and a report that tells who was C, who was pytinc, what passed and how long the failover
took (`howto.report`). ``interop/test_howto.py`` plays the same in the test run.
"""
