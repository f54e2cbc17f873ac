"""What applies on top of any release: who was erased, what is hidden, what happened since."""
