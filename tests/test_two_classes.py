"""What two classes leave of a loss is what is said about it."""

import pytest
import torch
from torchdistill.losses.registry import get_loss_wrapper, get_mid_level_loss

import kd_plugins  # noqa: F401
from kd_plugins._two_classes import two_class_remark

PATHS = {f"{side}_module_{part}": {"path": ".", "io": "output"}[part] for side in ("student", "teacher")
         for part in ("path", "io")}  # fmt: skip
SOFT = {"key": "SoftTargetLoss", "kwargs": {}}
STANDARDIZE = {"key": "TransformedLoss", "kwargs": {"transforms": [{"key": "standardize"}]}}
MASK = {"key": "SalientFeatureMask", "kwargs": {"keep": 1}}
SILENT = [
    {"criterion": {"key": "LSKDLoss", "kwargs": {}}},
    {"criterion": {"key": "LogitStdKDLoss", "kwargs": {**PATHS, "temperature": 2.0, "beta": 1.0}}},
    {"criterion": SOFT, "criterion_wrapper": {"key": "LogitStandardization", "kwargs": {}}},
    {"criterion": SOFT, "criterion_wrapper": STANDARDIZE},
    {"criterion": {"key": "CKDLoss", "kwargs": {}}, "criterion_wrapper": STANDARDIZE},
    {"criterion": {"key": "DKDLoss", "kwargs": {"alpha": 0.0}}},
    {"criterion": {"key": "DISTLoss", "kwargs": {**PATHS, "gamma": 0.0}}},
]
SPEAKING = [
    {"criterion": SOFT},
    {"criterion": SOFT, "criterion_wrapper": MASK},
    {"criterion": {"key": "CKDLoss", "kwargs": {}}},
    {"criterion": {"key": "MLKDLoss", "kwargs": {}}},
]


def gradient(term):
    """Return the largest entry of the gradient, the student's order being the teacher's in half of the samples."""
    loss = get_mid_level_loss(term["criterion"])
    if "criterion_wrapper" in term:
        loss = get_loss_wrapper(loss, term["criterion_wrapper"])
    generator = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(8, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    student.requires_grad_()
    value = loss({".": {"output": student}}, {".": {"output": teacher}}, torch.arange(8) % 2)
    return torch.autograd.grad(value, student)[0].abs().max()


@pytest.mark.parametrize("term", SILENT)
def test_what_is_said_to_have_no_gradient_has_none(term):
    assert gradient(term) < 1e-5
    assert two_class_remark(term).startswith("With two classes ")


@pytest.mark.parametrize("term", SPEAKING)
def test_what_has_a_gradient_is_not_remarked_on(term):
    assert gradient(term) > 1e-3
    assert two_class_remark(term) is None


def test_of_mlkd_the_divergences_alone_are_standardized():
    for more in ({"kwargs": {"standardize": True}}, {"kwargs": {}}):
        wrapper = {} if more["kwargs"] else {"criterion_wrapper": STANDARDIZE}
        assert "the divergences of MLKDLoss have" in two_class_remark(
            {"criterion": {"key": "MLKDLoss", **more}, **wrapper}
        )
