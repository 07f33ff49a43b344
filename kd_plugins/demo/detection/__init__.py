"""The demo of detection."""
