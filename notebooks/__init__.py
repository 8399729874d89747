"""The tour, and what executes it."""
