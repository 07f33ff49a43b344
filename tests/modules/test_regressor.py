import pytest
import torch
import torch.nn.functional as F
from golden import Summary, wave
from torch import nn

from kd_plugins.modules import FeatureRegressor
from kd_plugins.modules.regressor import resize_between


def test_against_the_reference():
    """megvii-research/mdistiller, ConvReg with a 1x1 convolution, in training mode; the loss is FitNet's MSE."""
    regressor = FeatureRegressor(16, 32).double()
    state = {
        "conv.weight": wave((32, 16, 1, 1), a=0.15, s=0.4, q=11, c=0.0),
        "conv.bias": wave((32,), a=0.1, s=0.6, q=13, c=0.0),
        "bn.weight": wave((32,), a=0.1, s=0.9, q=19, c=1.0),
        "bn.bias": wave((32,), a=0.1, s=1.2, q=23, c=0.0),
    }
    assert regressor.load_state_dict(state, strict=False).unexpected_keys == []
    student = wave((8, 16, 8, 8), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    teacher = wave((8, 32, 8, 8), a=1.2, s=0.8, q=77, c=0.0)
    regressed = regressor(student)
    loss = F.mse_loss(regressed, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(1.5698045780464125, rel=1e-9)
    Summary(89.3529921357595, -7.360490253499499, (0.1482117836021827, 0.0, 0.0, 1.1060468109807282)).matches(regressed)
    Summary(0.008709937338521195, -0.002106354691339762, (-8.716387833693871e-05, 6.0643172932831e-05)).matches(
        student.grad
    )
    Summary(0.046371195069925104, 0.004409268421083628, (-0.0041373171436552775, -0.0012774428310189825)).matches(
        regressor.conv.weight.grad
    )
    Summary(0.04402456076824416, -0.007530673180526278, (0.004369226375974125,)).matches(regressor.bn.running_mean)
    Summary(5.312782458792914, -1.9637153705423747, (0.9317225901800426,)).matches(regressor.bn.running_var)


def test_hand_computed():
    """Weights 2 and -1 on channels 3 and 1, bias 0.5: 2 * 3 - 1 + 0.5 = 5.5; a negative sum is cut off."""
    regressor = FeatureRegressor(2, 2).eval()  # fresh batch norm: x / sqrt(1 + 1e-5)
    with torch.no_grad():
        regressor.conv.weight.copy_(torch.tensor([[2.0, -1.0], [-2.0, 1.0]]).reshape(2, 2, 1, 1))
        regressor.conv.bias.fill_(0.5)
    expected = torch.tensor([5.5, 0.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(regressor(torch.tensor([3.0, 1.0]).reshape(1, 2, 1, 1)), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("student", "teacher", "resize"),
    [
        ((8, 8), (8, 8), "none"),
        ((8, 8), (4, 4), "half"),
        ((4, 4), (8, 8), "double"),
        ((8, 8), (2, 2), "none"),
        ((8, 4), (4, 4), "none"),
        ((6, 4), (3, 2), "half"),
        ((1, 1), (2, 2), "double"),
    ],
)
def test_what_resizes_gives_the_teachers_size(student, teacher, resize):
    assert resize_between(student, teacher) == resize
    regressor = FeatureRegressor(3, 5, resize=resize)
    out = regressor(torch.randn(2, 3, *student))
    assert out.shape == (2, 5, *(student if resize == "none" else teacher))
    kernels = {"none": (nn.Conv2d, (1, 1)), "half": (nn.Conv2d, (3, 3)), "double": (nn.ConvTranspose2d, (4, 4))}
    assert (type(regressor.conv), regressor.conv.kernel_size) == kernels[resize]


def test_gradients():
    regressor = FeatureRegressor(2, 3, resize="half").double()
    assert torch.autograd.gradcheck(regressor, torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"in_channels": 0}, "in_channels must be a finite number of at least 1, found 0"),
        ({"out_channels": -1}, "out_channels must be a finite number of at least 1, found -1"),
        ({"resize": "quarter"}, "resize must be one of 'none', 'half', 'double', found 'quarter'"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        FeatureRegressor(**{"in_channels": 2, "out_channels": 2, **given})
