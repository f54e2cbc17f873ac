"""What was acknowledged and is on its way: a durable journal, carried into the store."""
