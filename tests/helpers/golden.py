"""Closed-form inputs and comparison of a tensor with the numbers that a reference implementation gave."""

import math
from dataclasses import dataclass

import pytest
import torch


def wave(shape, *, a, s, q, c):
    """Return the float64 tensor c + a * u, with u a sine, a cosine and a quadratic residue of the index."""
    i = torch.arange(math.prod(shape))
    u = (
        torch.sin(1.3 * i.double() + s)
        + 0.6 * torch.cos(0.7 * (i * i % 11).double() + 2 * s)
        + 0.8 * ((37 * i * i + 101 * i + q) % 1009).double().div(1009).sub(0.5)
    )
    return (c + a * u).reshape(shape)


def golden_student():
    return wave((8, 10), a=1.5, s=0.3, q=17, c=0.1).requires_grad_()


def golden_teacher():
    return wave((8, 10), a=2.5, s=1.1, q=401, c=-0.2)


@dataclass(frozen=True)
class Summary:
    """What is known of a tensor t: its norm, sum_k t[k] * cos(0.37 * k + 0.2), and its first elements."""

    l2: float
    wsum: float
    first: tuple[float, ...]

    def matches(self, x, *, rel=1e-6):
        flat = x.detach().flatten()
        k = torch.arange(flat.numel(), dtype=flat.dtype)
        assert flat.norm().item() == pytest.approx(self.l2, rel=rel)
        assert (flat * torch.cos(0.37 * k + 0.2)).sum().item() == pytest.approx(self.wsum, rel=rel)
        assert flat[: len(self.first)].tolist() == pytest.approx(self.first, rel=rel)


def assert_golden(loss, student, value, gradient, *, rel=1e-6):
    assert loss.item() == pytest.approx(value, rel=rel)
    gradient.matches(torch.autograd.grad(loss, student)[0], rel=rel)
