"""What lies where in an experiment's folder, and how it gets there safely.

Paths (``layout.py``), files that are written whole or not at all (``atomic_file.py``), folders
behind a URL (``remote_folder.py``), and the lock of the one driver an experiment may have.
"""
