"""`recommend()`: from requests to lists with reasons."""
