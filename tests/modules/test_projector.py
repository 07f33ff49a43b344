import pytest
import torch
import torch.nn.functional as F
from golden import Summary, wave
from torch import nn

from kd_plugins.modules import FeatureProjector

WAVES = {
    0: {"weight": ((16, 16, 1, 1), 0.2, 0.4, 11, 0.0)},
    1: {"weight": ((16,), 0.1, 0.3, 32, 1.0), "bias": ((16,), 0.1, 0.5, 54, 0.0)},
    3: {"weight": ((16, 16, 3, 3), 0.1, 0.9, 19, 0.0)},
    4: {"weight": ((16,), 0.1, 1.2, 35, 1.0), "bias": ((16,), 0.1, 2.0, 57, 0.0)},
    6: {"weight": ((32, 16, 1, 1), 0.2, 1.4, 29, 0.0)},
    7: {"weight": ((32,), 0.1, 2.1, 38, 1.0), "bias": ((32,), 0.1, 3.5, 60, 0.0)},
}


def golden_projector():
    """The projector of the reference's case, channels 16 to 32."""
    projector = FeatureProjector(16, 32).double()
    with torch.no_grad():
        for layer, tensors in WAVES.items():
            for name, (shape, a, s, q, c) in tensors.items():
                getattr(projector.layers[layer], name).copy_(wave(shape, a=a, s=s, q=q, c=c))
    return projector


def test_against_the_reference():
    """DefangChen/SimKD, models/util.py, factor 2, training mode; the classifier is the teacher's, on the average."""
    projector = golden_projector()
    student = wave((8, 16, 8, 8), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    teacher = wave((8, 32, 8, 8), a=1.2, s=0.8, q=77, c=0.0)
    head_weight = wave((10, 32), a=0.3, s=0.6, q=71, c=0.0)
    head_bias = wave((10,), a=0.2, s=0.8, q=73, c=0.0)
    projected = projector(student)
    loss = F.mse_loss(projected, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(1.583568047247278, rel=1e-9)
    Summary(90.78982665384703, 5.8328853700325425, (0.0, 0.0, 1.4743363115651622, 0.0)).matches(projected)
    logits = F.linear(projected.mean((2, 3)), head_weight, head_bias)
    Summary(6.10724510770889, 1.8329615713601828, (-0.5651499737486168, -0.46708930461363274)).matches(logits)
    Summary(0.009173056772110041, 0.003426842475561517, (-4.473591427236894e-05, 0.00013097518140116698)).matches(
        student.grad
    )
    Summary(0.13538152538568324, -0.01104754289924348, (-0.00893570327287421, 0.008085894289354016)).matches(
        projector.layers[0].weight.grad
    )
    Summary(0.12511280460904686, -0.04934938167864439, (0.001624069384280943,)).matches(projector.layers[3].weight.grad)
    Summary(0.07085375313477074, 0.03920665330976575, (0.0030624087824830887,)).matches(projector.layers[6].weight.grad)


def test_shapes_and_layers():
    projector = FeatureProjector(6, 20, reduction=4)
    shapes = [tuple(m.weight.shape) for m in projector.layers if isinstance(m, nn.Conv2d)]
    assert shapes == [(5, 6, 1, 1), (5, 5, 3, 3), (20, 5, 1, 1)]
    assert not [m for m in projector.layers if isinstance(m, nn.Conv2d) and m.bias is not None]
    out = projector(torch.randn(2, 6, 3, 5))
    assert out.shape == (2, 20, 3, 5)
    assert out.min() == 0  # the last ReLU too


def test_gradients():
    projector = FeatureProjector(2, 4).double()
    assert torch.autograd.gradcheck(projector, torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"in_channels": 0}, "in_channels must be a finite number of at least 1, found 0"),
        ({"out_channels": 0}, "out_channels must be a finite number of at least 1, found 0"),
        ({"reduction": 0.5}, "reduction must be a finite number of at least 1, found 0.5"),
        ({"reduction": 5}, "reduction must be a whole number of at most 4, the teacher's channels, found 5"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        FeatureProjector(**{"in_channels": 2, "out_channels": 4, **given})
