"""Statistics files for tests, without a fit."""

import torch

from kd_plugins.statistics import save_statistics


def penultimate(path, *, channels=64, count=6, **metadata):
    """Write penultimate statistics with random centres and return the path."""
    centres = torch.randn(count, channels, generator=torch.Generator().manual_seed(0))
    return _save(path, {"penultimate.centres": centres}, metadata)


def intermediate(path, *, channels=64, classes=5, subclasses=2, components=3, **metadata):
    """Write intermediate statistics with random numbers and return the path."""
    generator, total = torch.Generator().manual_seed(0), classes * subclasses
    tensors = {
        "projection": torch.randn(components, channels, generator=generator),
        "projection_bias": torch.randn(components, generator=generator),
        "subclass_centres": torch.randn(total, components, generator=generator),
        "subclass_counts": torch.ones(total, dtype=torch.int64),
        "prototypes": torch.randn(total, components, generator=generator),
        "score_table": torch.randn(total, total, generator=generator).softmax(1),
    }
    return _save(path, {f"intermediate.{name}": tensor for name, tensor in tensors.items()}, metadata)


def _save(path, tensors, metadata):
    save_statistics(path, tensors, {name.replace("__", "."): str(value) for name, value in metadata.items()})
    return str(path)
