"""Outside data in; users, items, tags and events out, validated, with rejects explained."""
