"""What was acknowledged and is on its way into the store: a durable journal, and its drain."""
