import pytest
import torch

from kd_plugins.losses import mgd_loss


def test_hand_computed_value():
    generated, teacher = torch.zeros(2, 2, 1, 1), torch.tensor([[[[1.0]], [[3.0]]], [[[2.0]], [[0.0]]]])
    assert mgd_loss(generated, teacher).item() == (1 + 9 + 4 + 0) / 2


def test_gradient():
    generated, teacher = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True), torch.randn(2, 3, 2, 2)
    assert torch.autograd.gradcheck(lambda x: mgd_loss(x, teacher.double()), generated)


def test_another_number_of_channels_is_named():
    with pytest.raises(ValueError, match="same number of channels, found 3 and 4"):
        mgd_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 2, 2))
