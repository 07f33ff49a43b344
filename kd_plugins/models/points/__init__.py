"""Named places of a model's features: what they are called, how they are found, and how they are shown as maps."""
