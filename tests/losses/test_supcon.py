import math

import pytest
import torch
import torch.nn.functional as F
from loss_checks import assert_compiles, assert_full_precision_under_autocast, assert_sane, pair

from kd_plugins.losses import SupConLoss, ckd_loss, supcon_loss


def by_hand(student, teacher, labels, temperature):
    """Return the loss as the equation stands, pair by pair."""
    rows = []
    for i, anchor in enumerate(teacher):
        scores = [(F.cosine_similarity(anchor, z, dim=0) / temperature).exp() for z in student]
        positives = [j for j, label in enumerate(labels) if label == labels[i]]
        rows.append(-sum((scores[p] / sum(scores)).log() for p in positives) / len(positives))
    return torch.stack(rows).mean()


def test_hand_computed_value():
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    # Cosines 1 and 0: log(1 + e) less 1 with one positive, less (1 + 0) / 2 with both.
    assert supcon_loss(logits, logits, torch.tensor([0, 1])).item() == pytest.approx(math.log(1 + math.e) - 1)
    assert supcon_loss(logits, logits, torch.tensor([1, 1])).item() == pytest.approx(math.log(1 + math.e) - 0.5)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_equals_the_equation(temperature):
    student, teacher = torch.randn(6, 5).double(), torch.randn(6, 5).double()
    labels = torch.tensor([0, 1, 0, 4, 1, 0])
    found = supcon_loss(student, teacher, labels, temperature=temperature)
    torch.testing.assert_close(found, by_hand(student, teacher, labels, temperature))


def test_samples_of_distinct_classes_are_ckd():
    student, teacher = torch.randn(5, 5), torch.randn(5, 5)
    torch.testing.assert_close(supcon_loss(student, teacher, torch.arange(5)), ckd_loss(student, teacher))


def test_order_of_the_batch_does_not_matter():
    student, teacher, labels = torch.randn(6, 4), torch.randn(6, 4), torch.arange(6) % 3
    order = torch.randperm(6)
    found = supcon_loss(student[order], teacher[order], labels[order])
    torch.testing.assert_close(found, supcon_loss(student, teacher, labels))


def test_gradient_and_a_zero_row():
    student, teacher = 3 * torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5).double()
    labels = torch.tensor([4, 0, 1, 0])
    assert torch.autograd.gradcheck(lambda z: supcon_loss(z, teacher, labels), student.requires_grad_())
    zeros = torch.zeros(4, 5, requires_grad=True)
    supcon_loss(zeros, teacher.float(), labels).backward()
    assert zeros.grad.isfinite().all()


def test_refuses():
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found 0"):
        SupConLoss(temperature=0)
    with pytest.raises(ValueError, match="targets of SupCon must be class indices"):
        supcon_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3) / 3)


def of_two_classes(student, teacher):
    return supcon_loss(student, teacher, torch.arange(len(student)) % 2)


def test_large_and_equal_logits():
    student, teacher = pair()
    for scale in (0.0, 1e-6, 1e6):
        assert_sane(of_two_classes, scale * student.float(), scale * teacher.float(), largest_gradient=1e7)


def test_autocast():
    assert_full_precision_under_autocast(of_two_classes)


def test_compiles():
    assert_compiles(of_two_classes)
