"""What a few training steps show."""
