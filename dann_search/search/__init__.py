"""Running a study: Ray Tune and Ray Train, the dispatcher, the fleet of workers.

Start with ``launch.py``; docs/structure.md follows one trial through the files. This room and
``cluster`` are all that import ray.
"""
