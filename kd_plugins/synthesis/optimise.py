"""The optimisation of one batch of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.logits import describe_output
from .batch_norms import BatchNormTerm, batch_norms, recorded
from .options import PUBLIC_BATCH, Options
from .terms import js_divergence, total_variation

CHANNELS = 3
"""Channels of the images that are saved."""


@dataclass(frozen=True)
class Batch:
    """Synthetic images."""

    images: Tensor  # uint8, shape (B, H, W, 3)
    labels: Tensor  # the requested labels, int64, shape (B,)
    logits: Tensor  # the teacher's logits of the images, float32, shape (B, C)
    terms: dict[str, float]  # the terms of the loss at the chosen step, without their weights, and `"loss"`

    @property
    def agreement(self) -> float:
        """The share of images in which the teacher sees the requested label."""
        return (self.logits.argmax(1) == self.labels).double().mean().item()


class Pixels:
    """The relation of optimised values, pixels from 0 to 1 and a model's input.

    Values are pixels minus their mean, divided by their standard deviation, both of each channel as the teacher was
    trained. Grey images have one channel of values.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, grey: bool, device: torch.device | str = "cpu"
    ) -> None:
        self.mean, self.std = (
            torch.tensor(values, dtype=torch.float32, device=device)[:, None, None] for values in (mean, std)
        )
        self.grey = grey
        self.shift = self.mean.mean(0, keepdim=True) if grey else self.mean
        self.scale = self.std.mean(0, keepdim=True) if grey else self.std
        self.low, self.high = -self.shift / self.scale, (1 - self.shift) / self.scale

    def input_of(self, values: Tensor) -> Tensor:
        """Return the teacher's input of optimised values."""
        return (values * self.scale + self.shift - self.mean) / self.std if self.grey else values

    def clipped_(self, values: Tensor) -> Tensor:
        """Clip values in place to what pixels can be."""
        return torch.maximum(torch.minimum(values, self.high, out=values), self.low, out=values)

    def as_bytes(self, values: Tensor) -> Tensor:
        """Return uint8 images (B, H, W, 3)."""
        pixels = (values * self.scale + self.shift).mul(255).round().clamp(0, 255).to(torch.uint8)
        return pixels.expand(-1, CHANNELS, -1, -1).permute(0, 2, 3, 1).contiguous()

    def from_bytes(self, images: Tensor) -> Tensor:
        """Return a model's input of uint8 images, exactly as ``ToTensor`` and ``Normalize`` do."""
        channels = images.permute(0, 3, 1, 2)[:, : len(self.mean)]
        return channels.float().div(255).sub(self.mean).div(self.std).contiguous()


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode and its parameters outside of gradients inside the block; restore both after it."""
    modes = [(part, part.training) for part in model.modules()]
    trained = [p for p in model.parameters() if p.requires_grad]
    try:
        model.eval().requires_grad_(False)
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter in trained:
            parameter.requires_grad_(True)


class Descent:
    """The optimisation of one batch; the arguments are those of :func:`optimise`.

    The teacher is in eval mode, without gradients of its parameters, and the batch-norm term ``norms`` sees its inputs.

    Attributes:
        kept: the values of the lowest loss so far, shape (B, c, H, W).
        kept_terms: their terms, a vector in the order of ``weights``.
        best: the lowest loss.
    """

    def __init__(
        self,
        teacher: nn.Module,
        labels: Tensor,
        size: tuple[int, int],
        pixels: Pixels,
        options: Options,
        *,
        seed: int,
        norms: BatchNormTerm | None,
        student: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        device = pixels.mean.device
        self.teacher, self.student, self.norms = teacher, student, norms
        self.labels, self.pixels, self.options = labels.to(device), pixels, options
        self.weights = term_weights(options, len(labels))
        self.generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(labels), len(pixels.shift), *size, generator=self.generator)
        self.values = pixels.clipped_(noise.to(device)).requires_grad_()
        self.adam = torch.optim.Adam([self.values], lr=options.lr, betas=tuple(options.betas))  # type: ignore[arg-type]
        self.best = torch.full((), torch.inf, device=device)
        self.kept = self.values.detach().clone()
        self.kept_terms = torch.zeros(len(self.weights), device=device)
        self._loss = self.best

    def look(self) -> None:
        """Compute the loss of the present values, and keep them if it is the lowest."""
        terms = self._terms(_moved(self.values, self.options, self.generator))
        self._loss = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        with torch.no_grad():  # without a comparison on the CPU, for which a GPU would have to wait
            better = self._loss < self.best
            self.best = torch.where(better, self._loss, self.best)
            self.kept = torch.where(better, self.values, self.kept)
            self.kept_terms = torch.where(better, torch.stack([terms[name] for name in self.weights]), self.kept_terms)

    def step(self) -> None:
        """Change the values along the gradient of the loss that ``look`` computed."""
        self.adam.zero_grad()
        self._loss.backward()
        self.adam.step()
        with torch.no_grad():
            self.pixels.clipped_(self.values)

    def _terms(self, values: Tensor) -> dict[str, Tensor]:
        images = self.pixels.input_of(values)
        logits = self.teacher(images)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            found = describe_output(logits)
            raise ValueError(f"the teacher must return logits (B, C) for B = {len(images)}, found {found}")
        terms = {"ce": F.cross_entropy(logits.float(), self.labels)}
        if self.norms is not None:
            terms["bn"] = self.norms.value()
        if "tv" in self.weights:
            terms["tv"] = total_variation(images)
        if "l2" in self.weights:
            terms["l2"] = torch.linalg.vector_norm(images.float())
        if "competition" in self.weights:
            if self.student is None:
                raise ValueError("competition needs a student: give --student FILE, its checkpoint")
            terms["competition"] = 1 - js_divergence(self.student(images), logits)
        return terms


def optimise(
    teacher: nn.Module,
    labels: Tensor,
    size: tuple[int, int],
    pixels: Pixels,
    options: Options,
    *,
    seed: int,
    student: Callable[[Tensor], Tensor] | None = None,
    step_done: Callable[[], object] = lambda: None,
) -> Batch:
    """Return images that a teacher takes for ``labels``.

    Adam starts from normal noise and minimises the sum of weighted terms. Each step rolls and perhaps mirrors the whole
    batch, and clips the values to what pixels can be. The images of the lowest loss are returned. All random numbers
    come from ``seed``.

    Args:
        teacher: returns logits (B, C) for images that are normalised as ``pixels`` says; unchanged after the call.
        labels: int64, shape (B,).
        size: height and width.
        pixels: the normalisation.
        options: with values for ``jitter`` and ``flip``.
        seed: of a generator of its own.
        student: logits of a fixed student for the teacher's input; needed for ``competition``.
        step_done: called after each step.

    Returns:
        The batch, on the CPU.

    Raises:
        ValueError: if the teacher does not return logits for all labels, its batch norms cannot be matched, or no loss
            is finite.
    """
    norms = BatchNormTerm(batch_norms(teacher), first=options.first_bn) if options.bn else None
    with evaluated(teacher):
        descent = Descent(teacher, labels, size, pixels, options, seed=seed, norms=norms, student=student)
        with recorded(norms) if norms is not None else nullcontext():
            for _ in range(options.steps):
                descent.look()
                descent.step()
                step_done()
            descent.look()
        images = pixels.as_bytes(descent.kept)
        with torch.no_grad():
            logits = teacher(pixels.from_bytes(images)).float()
    if not descent.best.isfinite():
        raise ValueError("the loss of the images was never finite: the teacher's weights or an option are out of range")
    terms = dict(zip(descent.weights, descent.kept_terms.tolist(), strict=True))
    return Batch(images.cpu(), labels.cpu(), logits.cpu(), {"loss": descent.best.item(), **terms})


def term_weights(options: Options, batch: int) -> dict[str, float]:
    """Return the weights of the terms that are not 0, for a batch of this size.

    Total variation and l2 norm grow with the square root of the batch size, and their gradient in an image falls with
    it; that of the other terms falls with the batch size itself. The factor keeps the balance of a batch of 256.

    Example:
        >>> term_weights(Options(), 64)
        {'ce': 1.0, 'bn': 1.0, 'tv': 0.002}
    """
    grown = (PUBLIC_BATCH / batch) ** 0.5
    found = {
        "ce": options.ce, "bn": options.bn, "tv": options.tv * grown, "l2": options.l2 * grown,
        "competition": options.competition,
    }  # fmt: skip
    # The cross-entropy is always shown.
    return {name: weight for name, weight in found.items() if weight or name == "ce"}


def _moved(values: Tensor, options: Options, generator: torch.Generator) -> Tensor:
    if options.jitter:
        shifts = torch.randint(-options.jitter, options.jitter + 1, (2,), generator=generator).tolist()
        values = torch.roll(values, shifts, dims=(2, 3))
    if options.flip and torch.rand((), generator=generator) < 0.5:
        values = values.flip(3)
    return values
