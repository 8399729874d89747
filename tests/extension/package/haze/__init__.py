"""A user's package: the examples of docs/extending.md, made known by entry points."""
