"""What holds for every loss of student and teacher logits."""

import torch

DEGENERATE = {
    "zeros": torch.zeros(4, 6),
    "constant rows": torch.full((4, 6), 3333.3),
    "one sample": torch.tensor([[0.5, -1.0, 2.0, 0.0, 1.0, 3.0]]),
    "two classes": torch.tensor([[1.0, 2.0], [5.0, -5.0]]),
    "huge": 1e4 * torch.tensor([[1.0, -1.0, 0.5, 0.2], [0.0, 1.0, 0.0, -1.0]]),
    "tiny": 1e-12 * torch.arange(8.0).reshape(2, 4),
    "bfloat16": torch.arange(12.0).reshape(3, 4).bfloat16(),
}


def pair(batch=8, classes=10, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, batch, classes, generator=generator, dtype=dtype)
    return student.requires_grad_(), 2 * teacher


def value_and_gradient(loss, student, teacher):
    student = student.detach().clone().requires_grad_()
    value = loss(student, teacher)
    return value.detach(), torch.autograd.grad(value, student)[0]


def assert_sane(loss, student, teacher, *, largest_gradient):
    """A finite scalar of float32 at least, a bounded gradient for the student, none for the teacher."""
    student = student.detach().clone().requires_grad_()
    teacher = teacher.detach().clone().requires_grad_()
    value = loss(student, teacher)
    assert value.shape == ()
    assert value.dtype in (torch.float32, torch.float64)
    assert value.isfinite()
    value.backward()
    assert teacher.grad is None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() <= largest_gradient


def assert_full_precision_under_autocast(loss):
    """Under bf16 autocast, bf16 logits give what the same numbers give in float32 without it."""
    student, teacher = (x.detach().bfloat16() for x in pair())
    expected, gradient = value_and_gradient(loss, student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(student, teacher)
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.detach(), expected)
    assert student.grad.dtype == torch.bfloat16
    torch.testing.assert_close(student.grad, gradient.bfloat16())


def assert_compiles(loss):
    """Compiled in one graph, under autocast too, the loss has its eager value and gradient."""
    student, teacher = (x.detach().float() for x in pair())
    expected = value_and_gradient(loss, student, teacher)
    for autocast in (False, True):
        torch.compiler.reset()
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        own = student.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            value = compiled(own, teacher)
        torch.testing.assert_close((value.detach(), *torch.autograd.grad(value, own)), expected)
