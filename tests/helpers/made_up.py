"""Features in closed form and at random, as streams."""

import math

import torch

from kd_plugins.statistics import ArrayFeatures


def cycled_labels(count, classes):
    return (7 * torch.arange(count) + 3) % classes


def blobs(rows, channels, *, classes, amp, spread, s, q):
    """Return rows around a cosine of class and channel: amp * cos(2 y + 1.7 d + s) + spread * u(index)."""
    i = torch.arange(rows * channels)
    u = (
        torch.sin(1.3 * i.double() + s)
        + 0.6 * torch.cos(0.7 * (i * i % 11).double() + 2 * s)
        + 0.8 * ((37 * i * i + 101 * i + q) % 1009).double().div(1009).sub(0.5)
    )
    y = cycled_labels(rows, classes).double()
    d = torch.arange(channels).double()
    return amp * torch.cos(2.0 * y[:, None] + 1.7 * d + s) + spread * u.reshape(rows, channels)


def random_stream(*, images=60, positions=6, channels=5, classes=4, seed=0, dtype=torch.float32, spread=1.0):
    """Return a stream of noise around a mean of each class; positions are 2 rows high where they are even."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    means = 2 * torch.randn(classes, channels, generator=generator)
    noise = spread * torch.randn(images, positions, channels, generator=generator)
    height = 2 if positions % 2 == 0 else 1
    return ArrayFeatures((means[labels][:, None] + noise).to(dtype), labels, size=(height, positions // height))


def in_blocks(stream, step):
    """Return the stream cut into blocks of so many images."""

    class Cut:
        shape, device = stream.shape, stream.device

        def blocks(self, title):
            for block in stream.blocks(title):
                for start in range(0, len(block.features), step):
                    labels = None if block.labels is None else block.labels[start : start + step]
                    yield type(block)(block.features[start : start + step], labels)

    return Cut()


def readout(x):
    """Return sum_k x[k] * cos(0.37 * k + 0.2), which one wrong entry changes."""
    flat = x.flatten()
    return math.fsum((flat * torch.cos(0.37 * torch.arange(len(flat), dtype=flat.dtype) + 0.2)).tolist())
