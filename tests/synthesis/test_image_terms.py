import math

import pytest
import torch

from kd_plugins.synthesis.terms import js_divergence, total_variation


def test_total_variation_is_the_sum_of_four_norms():
    images = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).view(1, 1, 2, 2)
    expected = math.hypot(1, 4) + math.hypot(3, 6) + 7 + 2  # right, down, \, /
    assert total_variation(images).item() == pytest.approx(expected)


def test_total_variation_of_a_batch_grows_with_its_root():
    image = torch.randn(1, 3, 5, 5)
    assert total_variation(image.expand(4, -1, -1, -1)).item() == pytest.approx(2 * total_variation(image).item())


def test_a_constant_image_has_no_variation_and_a_finite_gradient():
    image = torch.full((2, 3, 4, 4), 0.3, requires_grad=True)
    value = total_variation(image)
    value.backward()
    assert value == 0
    assert image.grad.isfinite().all()


def test_half_precision_is_widened():
    image = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)
    image[0, 0, 0, 0] = -300
    assert total_variation(image).dtype == torch.float32
    assert total_variation(image).isfinite()


def test_js_is_0_for_equal_and_log_2_for_disjoint_probabilities():
    logits = torch.randn(4, 5)
    assert js_divergence(logits, logits).item() == pytest.approx(0, abs=1e-6)
    one, other = torch.tensor([[900.0, 0.0]]), torch.tensor([[0.0, 900.0]])
    assert js_divergence(one, other).item() == pytest.approx(math.log(2))


def test_js_is_symmetric_and_needs_no_shift():
    one, other = torch.randn(2, 6, 4).unbind()
    assert js_divergence(one, other).item() == pytest.approx(js_divergence(other, one).item(), rel=1e-5)
    assert js_divergence(one + 3, other).item() == pytest.approx(js_divergence(one, other).item(), rel=1e-5)


def test_js_by_hand():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    m = (p + q) / 2
    expected = 0.5 * (p * (p / m).log()).sum() + 0.5 * (q * (q / m).log()).sum()
    assert js_divergence(q.log()[None], p.log()[None], 1.0).item() == pytest.approx(expected.item(), rel=1e-5)
