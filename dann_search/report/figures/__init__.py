"""The figures of a report, drawn by Plotly: the page shows them, ``--figures`` saves them.

Every figure is one function from ``Content`` to its plots. Start reading in ``catalog.py``, which
lists them.
"""
