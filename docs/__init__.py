"""Pages for people, and what makes one of them."""
