"""What only clusters need: jobs, ``doctor``, spot nodes, checks of a launcher's file.

A search on a laptop never enters this room. Start reading with ``remote_control.py`` for
``launch --detach``, with ``doctor/run.py`` for ``doctor`` and with ``validate_cluster.py`` for
``validate-cluster``. It may import Ray and every room but ``cli`` and ``api``.
"""
