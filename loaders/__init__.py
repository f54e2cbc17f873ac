"""Turns outside data into checked users, items, tags and events, and explains rejected rows."""
