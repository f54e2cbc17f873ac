"""From outside data to checked users, items, tags and events; rejects are explained."""
