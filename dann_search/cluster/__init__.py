"""What only users of a cluster need: jobs, ``doctor``, spot instances, the cluster launcher's file.

A search on a laptop never enters this room. Start with ``jobs.py`` for ``launch --detach``, with
``doctor/run.py`` for ``doctor``, and with ``file/check.py`` for ``validate-cluster``.
"""
