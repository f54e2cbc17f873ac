"""What holds now and stands in no release: who was erased, what is hidden, what came since."""
