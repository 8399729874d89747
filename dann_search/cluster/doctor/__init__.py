"""Is this machine, is that cluster fit for a search: a line a check, a remedy for what is not."""
