"""Groups of users, and how each is described."""
