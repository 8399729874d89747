"""Models for use elsewhere: a file or two that need neither dann-search nor its experiment."""
