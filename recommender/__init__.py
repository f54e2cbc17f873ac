"""The two use cases: `refresh()` makes a release, `recommend()` answers from it."""
