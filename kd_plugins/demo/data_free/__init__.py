"""The demo of data-free distillation."""
