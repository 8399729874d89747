"""A Ray cluster launcher's file, checked for what Ray's own validation lets through."""
