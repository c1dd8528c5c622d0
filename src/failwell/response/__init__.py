"""What a failure sets in motion."""
