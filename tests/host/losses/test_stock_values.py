"""What torchdistill's feature losses and modules compute, against public reference implementations."""

import pytest
import torch
import torch.nn.functional as F
from golden import Summary, wave
from torchdistill.losses.mid_level import ATLoss, CCKDLoss, CRDLoss, HierarchicalContextLoss, VIDLoss

from kd_plugins.host.losses.pooled_vid import PooledVIDLoss
from kd_plugins.host.students.review import SizedFusion
from kd_plugins.host.students.vid import SizedRegressor
from kd_plugins.losses import attention_transfer_loss, correlation_loss


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def student(*shape, **more):
    return wave(shape, **{"a": 1.0, "s": 0.2, "q": 5, "c": 0.0, **more}).requires_grad_()


def teacher(*shape, **more):
    return wave(shape, **{"a": 1.2, "s": 0.8, "q": 77, "c": 0.0, **more})


def at(path, value):
    return {path: {"output": value}}


PAIR = {"one": {side: {"path": "f", "io": "output"} for side in ("student", "teacher")}}


def test_attention_transfer():
    f_s, f_t = student(2, 3, 4, 4), teacher(2, 5, 4, 4)
    torch.testing.assert_close(ATLoss(PAIR)(at("f", f_s), at("f", f_t)), attention_transfer_loss(f_s, f_t))


def test_variational_information():
    # HobbitLong/RepDistiller, commit b84f547, distiller_zoo/VID.py, VIDLoss.
    regressor = SizedRegressor(16, 32, 32, eps=1e-5, init_pred_var=5.0)
    weights = [
        wave((32, 16, 1, 1), a=0.25, s=0.4, q=11, c=0.0),
        wave((32, 32, 1, 1), a=0.2, s=0.9, q=19, c=0.0),
        wave((32, 32, 1, 1), a=0.2, s=1.2, q=23, c=0.0),
    ]
    for layer, weight in zip((0, 2, 4), weights, strict=True):
        regressor.regressor[layer].weight.data = weight
    f_s = student(8, 16, 8, 8)
    loss = VIDLoss(PAIR)(at("f", regressor(f_s)), at("f", teacher(8, 32, 8, 8)))
    assert loss.item() == pytest.approx(0.8972826644389021, rel=1e-6)
    gradient = Summary(
        l2=9.611291548541593e-05, wsum=-2.9043249694424906e-05, first=(-1.9086058807122122e-07, -3.490583694843485e-07)
    )
    gradient.matches(torch.autograd.grad(loss, f_s)[0])


def test_variational_information_of_maps_of_two_sizes():
    """As HobbitLong/RepDistiller's VIDLoss: the larger map is pooled, the student's before its regressor."""
    regressor = SizedRegressor(3, 5, 5, eps=1e-5, init_pred_var=5.0, size=(4, 4))
    for own, larger in ((8, 4), (2, 4), (4, 4)):
        f_s, f_t = student(2, 3, own, own), teacher(2, 5, larger, larger)
        loss = PooledVIDLoss(PAIR)(at("f", regressor(f_s)), at("f", f_t))
        small_s, small_t = (F.adaptive_avg_pool2d(f, min(own, larger)) for f in (f_s, f_t))
        mean = regressor.regressor(small_s)
        variance = F.softplus(regressor.soft_plus_param)[None, :, None, None] + 1e-5
        expected = 0.5 * ((mean - small_t) ** 2 / variance + variance.log()).mean()
        torch.testing.assert_close(loss, expected)
        for found, wanted in zip(
            torch.autograd.grad(loss, [f_s, *regressor.parameters()], retain_graph=True),
            torch.autograd.grad(expected, [f_s, *regressor.parameters()]),
            strict=True,
        ):
            torch.testing.assert_close(found, wanted)
    with pytest.raises(
        ValueError, match=r"pair 'one': the student's map must not .* found 8x8 and 4x4; set size: \[4, 4\] in the pair"
    ):
        PooledVIDLoss(PAIR)(at("f", (student(2, 5, 8, 8), torch.ones(1))), at("f", teacher(2, 5, 4, 4)))


def contrast(negatives, samples):
    positions = torch.tensor([(7 * b + 3) % samples for b in range(8)])
    columns = [
        [y, *((y + 1 + (5 * k + 3 * b) % (samples - 1)) % samples for k in range(negatives))]
        for b, y in enumerate(positions.tolist())
    ]
    return {"pos_idx": positions, "contrast_idx": torch.tensor(columns)}


def test_contrast_with_a_memory():
    # HobbitLong/RepDistiller, commit b84f547, crd/criterion.py and crd/memory.py, CRDLoss; it trains both projections.
    loss = CRDLoss("n", "e", "n", input_size=24, output_size=50, num_negative_samples=12, num_samples=50)
    scale = 1 / 12
    loss.memory_v1.copy_(wave((50, 24), a=scale, s=0.7, q=501, c=0.0))
    loss.memory_v2.copy_(wave((50, 24), a=scale, s=1.7, q=601, c=0.0))
    w_s, w_t = (wave((24, n), a=0.2, s=s, q=q, c=0.0) for n, s, q in ((16, 0.4, 11), (32, 0.9, 19)))
    b_s, b_t = (wave((24,), a=0.1, s=s, q=q, c=0.0) for s, q in ((0.6, 13), (1.2, 23)))
    weights = [w.requires_grad_() for w in (w_s, b_s, w_t, b_t)]

    def step(f_s, f_t):
        e_s, e_t = (F.normalize(F.linear(f, w, b)) for f, w, b in ((f_s, w_s, b_s), (f_t, w_t, b_t)))
        return loss({**at("n", e_s), "e": {"input": contrast(12, 50)}}, at("n", e_t))

    value = step(student(8, 16), teacher(8, 32))
    assert value.item() == pytest.approx(6.870356094781124, rel=1e-6)
    norms = [gradient.norm().item() for gradient in torch.autograd.grad(value, weights)]
    expected = [1.1616777876380244, 0.19023855526881656, 0.49058379369350685, 0.04363497895688638]
    assert norms == pytest.approx(expected, rel=1e-5)
    Summary(l2=3.5529929681528194, wsum=0.7132698752209146, first=()).matches(loss.memory_v1)
    Summary(l2=3.6844640152786314, wsum=-0.31982178488115276, first=()).matches(loss.memory_v2)
    again = step(student(8, 16, a=0.9, s=1.5, q=301), teacher(8, 32, a=1.1, s=2.1, q=309))
    assert again.item() == pytest.approx(8.124633145223447, rel=1e-6)


def test_hierarchical_context():
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/ReviewKD.py, hcl_loss.
    loss = HierarchicalContextLoss("f", "output", "f", "output")
    shapes = [((8, 16, 8, 8), 0.2, 5, 0.8, 77), ((8, 32, 4, 4), 0.5, 46, 1.1, 118), ((8, 64, 1, 1), 0.8, 87, 1.4, 159)]
    total = sum(
        loss(at("f", (student(*shape, s=s, q=q), None)), at("f", teacher(*shape, s=s_t, q=q_t)))
        for shape, s, q, s_t, q_t in shapes
    )
    assert total.item() == pytest.approx(1.4335318267364472, rel=1e-6)


@pytest.mark.parametrize(("fuses", "expected"), [(False, -3.432264241497933), (True, -1.833815858766505)])
def test_attention_based_fusion(fuses, expected):
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/ReviewKD.py, ABF in eval mode.
    fusion = SizedFusion(16, 12, 20, uses_attention=fuses, size=(8, 8)).eval()
    state = {
        "conv1.0.weight": wave((12, 16, 1, 1), a=0.2, s=0.4, q=11, c=0.0),
        "conv1.1.weight": wave((12,), a=0.1, s=0.9, q=19, c=1.0),
        "conv1.1.bias": wave((12,), a=0.1, s=1.2, q=23, c=0.0),
        "conv1.1.running_mean": torch.full((12,), 0.05),
        "conv1.1.running_var": torch.full((12,), 1.3),
        "conv1.1.num_batches_tracked": torch.tensor(0),
        "conv2.0.weight": wave((20, 12, 3, 3), a=0.1, s=1.4, q=29, c=0.0),
        "conv2.1.weight": wave((20,), a=0.1, s=1.6, q=31, c=1.0),
        "conv2.1.bias": wave((20,), a=0.1, s=1.8, q=37, c=0.0),
        "conv2.1.running_mean": torch.full((20,), -0.1),
        "conv2.1.running_var": torch.full((20,), 0.7),
        "conv2.1.num_batches_tracked": torch.tensor(0),
    }
    if fuses:
        state["attention_conv.0.weight"] = wave((2, 24, 1, 1), a=0.3, s=2.0, q=43, c=0.0)
        state["attention_conv.0.bias"] = wave((2,), a=0.2, s=2.2, q=47, c=0.0)
    fusion.load_state_dict(state)
    passed = wave((8, 12, 4, 4), a=0.8, s=1.0, q=61, c=0.0) if fuses else None
    flat = [x.flatten() for x in fusion(student(8, 16, 8, 8), passed)]
    found = sum((x * torch.cos(0.37 * torch.arange(len(x)) + 0.2)).sum() for x in flat)
    assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("own", "passed", "wanted"), [((4, 4), (2, 2), (8, 8)), ((8, 8), (4, 4), (3, 5))])
def test_fusion_resizes_before_its_last_convolution(own, passed, wanted, training):
    """As dvlab-research/ReviewKD and mdistiller: fused, resized, then 3x3 and batch norm; the resized map is passed."""
    fusion = SizedFusion(6, 4, 5, uses_attention=True, size=wanted).train(training)
    x, y = student(2, 6, *own), student(2, 4, *passed, q=31)
    features, residual = fusion(x, y)
    near = fusion.conv1(x)
    rows, columns = (torch.arange(n) * m // n for n, m in zip(own, passed, strict=True))
    far = y[:, :, rows][:, :, :, columns]
    shares = torch.sigmoid(F.conv2d(torch.cat([near, far], 1), *fusion.attention_conv[0].parameters()))
    fused = near * shares[:, 0:1] + far * shares[:, 1:2]
    rows, columns = (torch.arange(n) * m // n for n, m in zip(wanted, own, strict=True))
    resized = fused[:, :, rows][:, :, :, columns]
    torch.testing.assert_close(residual, resized)
    torch.testing.assert_close(features, fusion.conv2(resized))
    assert features.shape[2:] == wanted


def test_the_kernel_form_of_cc_is_on_another_scale():
    """Why the public comparisons' weight for CC does not belong to CCKDLoss."""
    e_s, e_t = (F.normalize(wave((64, 32), a=a, s=s, q=q, c=0.0)) for a, s, q in ((1.0, 0.2, 5), (1.2, 0.8, 77)))
    config = {"type": "gaussian", "gamma": 0.4, "max_p": 2}
    kernels = CCKDLoss("l", "l", config, "batchmean")(at("l", e_s), at("l", e_t))
    assert correlation_loss(student(64, 32), teacher(64, 32)) > 1000 * kernels
