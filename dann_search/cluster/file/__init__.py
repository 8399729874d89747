"""Checks of a cluster launcher's file that Ray does not make: each yields its findings."""
