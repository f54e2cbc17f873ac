"""What was acknowledged and is on its way: a durable journal, and its drain into the store."""
