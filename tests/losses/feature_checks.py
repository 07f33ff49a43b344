"""What holds for every loss of student and teacher feature maps."""

import torch
from golden import wave
from loss_checks import value_and_gradient

DEGENERATE = {
    "zeros": torch.zeros(2, 3, 4, 4),
    "constant": torch.full((2, 3, 4, 4), 333.3),
    "one sample": torch.arange(48.0).reshape(1, 3, 4, 4),
    "one position": torch.tensor([[1.0, -2.0], [0.5, 3.0]])[:, :, None, None],
    "huge": 1e4 * torch.sin(torch.arange(96.0)).reshape(2, 3, 4, 4),
    "tiny": 1e-12 * torch.arange(96.0).reshape(2, 3, 4, 4),
    "small": 1e-4 * torch.arange(96.0).reshape(2, 3, 4, 4),
    "bfloat16": torch.sin(torch.arange(96.0)).reshape(2, 3, 4, 4).bfloat16(),
}


def maps(student=(4, 5, 6, 6), teacher=None, *, dtype=torch.float64, seed=0):
    """Return random maps of both sides, the student's with a gradient."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(*shape, generator=generator, dtype=dtype) for shape in (student, teacher or student))
    return first.requires_grad_(), 2 * second


def golden_maps(student=16, teacher=32):
    """Return the maps of the golden cases, 8 samples of 8 x 8 positions."""
    f_s = wave((8, student, 8, 8), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    return f_s, wave((8, teacher, 8, 8), a=1.2, s=0.8, q=77, c=0.0)


def assert_maps_at_full_precision_under_autocast(loss):
    """Under bf16 autocast, bf16 maps give what the same numbers give in float32 without it, in both passes."""
    student, teacher = (x.detach().bfloat16() for x in maps())
    expected, gradient = value_and_gradient(loss, student.float(), teacher.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, ours = value_and_gradient(loss, student, teacher)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours, gradient.bfloat16())


def assert_compiles_on_maps(loss):
    """Compiled in one graph, under autocast too, the loss has its eager value and gradient; sizes are matched."""
    student, teacher = (x.detach().float() for x in maps((4, 5, 6, 6), (4, 5, 3, 3)))
    expected = value_and_gradient(loss, student, teacher)
    for autocast in (False, True):
        torch.compiler.reset()
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        own = student.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            value = compiled(own, teacher)
        torch.testing.assert_close((value.detach(), *torch.autograd.grad(value, own)), expected)
