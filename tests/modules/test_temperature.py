import copy
import math

import pytest
import torch

from kd_plugins.modules import GlobalTemperature, InstanceTemperature, scale_gradient
from kd_plugins.modules.temperature import cosine_lambda


def test_hand_computed_temperature():
    # 1 + 20 * sigmoid(0) = 11, 2 + 4 * sigmoid(ln 3) = 2 + 4 * 3/4 = 5
    assert GlobalTemperature(initial=0.0)().tolist() == [11.0]
    assert GlobalTemperature(initial=math.log(3), low=2.0, spread=4.0)().tolist() == pytest.approx([5.0])


def test_golden_temperature():
    # sunshangquan/logit-standardization-KD, commit f6e5aa5, CTKD/models/temp_global.py: 1 + 20 * sigmoid(1).
    assert GlobalTemperature().double()().item() == pytest.approx(15.621171572600097, rel=1e-7)


def test_golden_cosine():
    # The same repository, CTKD/train_student.py, CosineDecay.get_value with max 0, min -1, 10 loops.
    expected = [0.0, -0.02447174185242318, -0.09549150281252627, -0.5, -0.9755282581475768, -1.0, -1.0, -1.0]
    assert [cosine_lambda(e) for e in (0, 1, 2, 5, 9, 10, 11, 240)] == pytest.approx(expected)


def test_golden_gradient_reversal():
    # The same repository, CTKD/models/temp_global.py, GradientReversal at lambda -0.6: forward 0.4098, its gradient
    # that of the read-out cos(0.2) times -0.6.
    x = torch.tensor([0.4098209605829557], dtype=torch.float64, requires_grad=True)
    y = scale_gradient(x, -0.6)
    assert torch.equal(y, x)
    (y * math.cos(0.2)).sum().backward()
    assert x.grad.item() == pytest.approx(-0.5880399467047449, rel=1e-9)


def test_the_gradient_is_reversed_ever_more_strongly():
    temperature = GlobalTemperature()
    slopes = []
    for epoch in (0, 4, 9, 50):
        temperature.set_epoch(epoch)
        (slope,) = torch.autograd.grad(temperature(), temperature.score)
        slopes.append(slope.item())
    plain = 20 * math.exp(-1) / (1 + math.exp(-1)) ** 2
    assert slopes == pytest.approx([plain * cosine_lambda(e) for e in (1, 5, 10, 10)], rel=1e-5)
    assert slopes[2] == pytest.approx(-plain, rel=1e-5)


def test_until_somebody_tells_the_epoch_the_gradient_is_reversed_in_full():
    assert GlobalTemperature().factor == -1.0
    assert GlobalTemperature(lambda_min=-0.3).factor == -0.3


def test_one_temperature_a_sample_from_both_sides_logits():
    torch.manual_seed(0)
    temperature = InstanceTemperature(num_classes=4, hidden=8)
    student, teacher = torch.randn(2, 5, 4, requires_grad=True)
    tau = temperature(student, teacher)
    torch.testing.assert_close(tau, torch.full((5,), 1 + 20 / (1 + math.exp(-1))))
    torch.nn.init.normal_(temperature.outer.weight)
    tau = temperature(student, teacher)
    assert tau.unique().numel() == 5
    # a slow loop over samples
    for i in range(5):
        hidden = torch.relu(temperature.inner.weight @ torch.cat([student[i], teacher[i]]) + temperature.inner.bias)
        score = temperature.outer.weight @ hidden + temperature.outer.bias
        torch.testing.assert_close(tau[i], 1 + 20 * torch.sigmoid(score[0]))


def test_the_network_gets_the_reversed_gradient_and_the_logits_none():
    torch.manual_seed(0)
    temperature = InstanceTemperature(num_classes=3, hidden=4).double()
    torch.nn.init.normal_(temperature.outer.weight)
    logits = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    gradients = []
    for factor in (1.0, -0.5):
        temperature.factor = factor
        temperature(*logits).sum().backward()
        gradients.append([p.grad.clone() for p in temperature.parameters()])
        temperature.zero_grad()
    assert logits.grad is None
    for plain, reversed_ in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(reversed_, -0.5 * plain)


def test_autocast_leaves_full_precision():
    temperature = InstanceTemperature(num_classes=3)
    logits = torch.randn(2, 4, 3).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = temperature(*logits), GlobalTemperature()()
    assert [x.dtype for x in found] == [torch.float32] * 2
    torch.testing.assert_close(found[0], temperature(*logits.float()))


def test_compiles():
    torch.compiler.reset()
    temperature = InstanceTemperature(num_classes=3)
    logits = torch.randn(2, 4, 3)
    compiled = torch.compile(lambda z, v: temperature(z, v), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*logits), temperature(*logits))


def test_copies_and_shows_itself():
    temperature = GlobalTemperature(spread=10.0)
    assert repr(temperature) == "GlobalTemperature(low=1.0, spread=10.0, lambda_max=0.0, lambda_min=-1.0, loops=10)"
    assert torch.equal(copy.deepcopy(temperature)(), temperature())


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GlobalTemperature, {"low": 0.0}, "low must be a finite number above 0, found 0.0"),
        (GlobalTemperature, {"spread": -1}, "spread must be a finite number above 0, found -1"),
        (GlobalTemperature, {"loops": 0}, "loops must be a finite number above 0, found 0"),
        (GlobalTemperature, {"initial": math.inf}, "initial must be a finite number, found inf"),
        (GlobalTemperature, {"lambda_min": math.nan}, "lambda_min must be a finite number, found nan"),
        (InstanceTemperature, {"num_classes": 1}, "num_classes must be a finite number of at least 2, found 1"),
        (InstanceTemperature, {"num_classes": 3, "hidden": 0}, "hidden must be a finite number of at least 1"),
    ],
)
def test_refuses(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_refuses_logits_of_another_size():
    with pytest.raises(ValueError, match="num_classes of the temperature is 3, found logits of 4 classes"):
        InstanceTemperature(num_classes=3)(torch.zeros(2, 4), torch.zeros(2, 4))
