"""The decoder and the classifier that bound the information of a feature, and their fit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 12
LEARNING_RATE, FACTOR = 0.05, 0.1
PATIENCE = 2
"""Epochs without improvement on the held-out images, after which the learning rate falls."""
DROPS = 2
"""Falls of the learning rate; the next one would end the fit."""
HELD_OUT = 0.1
BATCH = 32

Loss = Callable[[Tensor, Tensor], Tensor]


class Decoder(nn.Module):
    """Gives back an image of a size, as logits, from a feature map: bilinear enlargement and two 3x3 convolutions.

    References:
        Wang et al., Revisiting Locally Supervised Learning, ICLR 2021: the decoder of the authors' code (InfoPro).

    Example:
        >>> Decoder(4, (8, 8))(torch.zeros(2, 4, 2, 2)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, channels: int, size: tuple[int, int], image_channels: int = 3) -> None:
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(
            nn.Conv2d(channels, HIDDEN, 3, padding=1),
            nn.BatchNorm2d(HIDDEN),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, image_channels, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, c, H, W) to logits of the pixels."""
        height, width = features.shape[2:]
        if 4 * height * width <= self.size[0] * self.size[1]:
            weight, bias = self.layers[0].parameters()
            return self.layers[1:](convolution_of_enlarged(features, weight, self.size) + bias[:, None, None])
        # On CPUs, resizing maps of many channels is several times faster in this layout.
        features = features.contiguous(memory_format=torch.channels_last)
        return self.layers(F.interpolate(features, self.size, mode="bilinear", align_corners=True))


def convolution_of_enlarged(features: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the 3x3 convolution, with padding 1, of maps enlarged bilinearly with aligned corners.

    Convolution and enlargement are both linear. The channels are therefore combined first, at the maps' own size, which
    is several times faster for small maps of many channels.

    Args:
        features: shape (B, c, h, w).
        weight: shape (k, c, 3, 3).
        size: height H and width W after the enlargement.

    Returns:
        Shape (B, k, H, W).

    Example:
        >>> x, weight = torch.rand(1, 2, 3, 4), torch.rand(5, 2, 3, 3)
        >>> enlarged = F.interpolate(x, (7, 9), mode="bilinear", align_corners=True)
        >>> torch.allclose(convolution_of_enlarged(x, weight, (7, 9)), F.conv2d(enlarged, weight, padding=1))
        True
    """
    taps = F.conv2d(features, weight.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None])
    taps = taps.unflatten(1, (-1, 3, 3)).permute(0, 1, 2, 4, 3, 5).flatten(4, 5).flatten(2, 3)  # (B, k, 3h, 3w)
    rows, columns = (_shifted_enlargement(*lengths) for lengths in zip(features.shape[2:], size, strict=True))
    return rows.to(taps) @ taps @ columns.to(taps).mT


def _shifted_enlargement(length: int, size: int) -> Tensor:
    """Return the linear enlargement along one side as a matrix (size, 3 * length), for the three taps of a kernel."""
    linear = F.interpolate(torch.eye(length)[None], size, mode="linear", align_corners=True)[0].mT
    padded = F.pad(linear, (0, 0, 1, 1))
    return torch.cat([padded[tap : tap + size] for tap in range(3)], dim=1)


def fitted(head: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss, *, epochs: int, seed: int) -> nn.Module:
    """Fit a head with Adam on nine tenths of the samples; return it with the weights that were best on the others.

    The learning rate is 0.05. It falls to a tenth when the held-out loss has not improved for 2 epochs, twice at most.
    The loss is a mean over the samples of inputs and targets (N, ...). There are at most ``epochs`` passes, and the
    seed is that of the split and the order of the batches.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(inputs), generator=generator)
    count = max(round(HELD_OUT * len(order)), 1)
    held, train = order[:count], order[count:]
    optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    best, weights, since, drops = math.inf, copy.deepcopy(head.state_dict()), 0, 0
    for _ in range(epochs):
        head.train()
        shuffled = train[torch.randperm(len(train), generator=generator)]
        for rows in shuffled.split(BATCH):
            if len(rows) == 1 < len(shuffled):
                continue  # the last row alone has no variance
            optimizer.zero_grad()
            loss(head(inputs[rows].float()), of_heads(targets[rows])).backward()
            optimizer.step()
        now = mean_loss(head, inputs, targets, loss, held)
        if now < best:
            best, weights, since = now, copy.deepcopy(head.state_dict()), 0
            continue
        since += 1
        if since == PATIENCE:
            drops, since = drops + 1, 0
            if drops > DROPS:
                break
            for group in optimizer.param_groups:
                group["lr"] *= FACTOR
    head.load_state_dict(weights)
    return head


@torch.no_grad()
def mean_loss(head: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss, rows: Tensor | None = None) -> float:
    """Return the mean loss over some rows, or all, in eval mode."""
    head.eval()
    rows = torch.arange(len(inputs)) if rows is None else rows
    total = 0.0
    for part in rows.split(8 * BATCH):
        total += loss(head(inputs[part].float()), of_heads(targets[part])).item() * len(part)
    return total / len(rows)


def of_heads(targets: Tensor) -> Tensor:
    """Return images, which may be stored as float16, as float32; class indices as they are."""
    return targets.float() if targets.is_floating_point() else targets


def binary_entropy(images: Tensor) -> float:
    """Return the mean of the binary entropy of values from 0 to 1, in nats: the least BCE that a decoder can have.

    Example:
        >>> round(binary_entropy(torch.tensor([0.5, 1.0])), 4)  # log 2 and 0
        0.3466
    """
    x = images.double()
    return -(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).mean().item()
