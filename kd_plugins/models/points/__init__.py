"""Feature points: named tensors inside a model, how to find them and how to expose them as maps."""
