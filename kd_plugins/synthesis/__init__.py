"""Data-free distillation: images that are optimised until a teacher recognises them."""
