"""Folders as ``kd-plugins synthesize`` writes them, with random images."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def write_shard(folder, number, *, batch=6, classes=10, size=(8, 8), **changed):
    """Write a shard of random images and return its tensors; ``changed`` replaces some of them."""
    draw = torch.Generator().manual_seed(number)
    shard = {
        "images": torch.randint(0, 256, (batch, *size, 3), dtype=torch.uint8, generator=draw),
        "labels": torch.arange(batch) % classes,
        "logits": torch.randn(batch, classes, generator=draw),
        **changed,
    }
    save_file(shard, Path(folder) / f"shard-{number:05d}.safetensors")
    return shard


def write_folder(folder, *, shards=(0, 1), batch=6, classes=10, size=(8, 8), names=None, **described):
    """Write shards and ``synthesis.json``; ``names`` are of classes, ``described`` changes the description."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = [write_shard(folder, number, batch=batch, classes=classes, size=size) for number in shards]
    description = {
        "classes": [f"class {label}" for label in range(classes)] if names is None else names,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.1],
        "size": list(size),
        "images": batch * len(written),
        "options": {"flip": False},
        "teacher": {},
        "shards": {},
        **described,
    }
    (folder / "synthesis.json").write_text(json.dumps(description))
    return written
