"""Run a few training steps and observe them."""
