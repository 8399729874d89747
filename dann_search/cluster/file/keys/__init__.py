"""The keys that Ray's launcher and the clouds accept, at every level."""
