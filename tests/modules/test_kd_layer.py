import copy

import pytest
import torch
import torch.nn.functional as F
from golden import Summary, wave
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.bench.memory import SavedBytes
from kd_plugins.losses import soft_assignment_loss
from kd_plugins.modules import KDLayer
from kd_plugins.modules.kd_layer._many_blocks import ManyBlocks
from kd_plugins.modules.kd_layer._norm import Norm
from kd_plugins.transforms import row_blocks

# The golden values: adagorgun/letKD-framework, commit 4fb2289.


def golden_layer(scores):
    """Return the second half of a layer: (K, c) values, gain, bias and running statistics."""
    values = wave((12, scores, 1, 1), a=0.3, s=0.7, q=111, c=0.0).flatten(1)
    gain, bias = wave((scores,), a=0.2, s=0.9, q=19, c=1.0), wave((scores,), a=0.2, s=1.2, q=23, c=0.0)
    return values.requires_grad_(), gain.requires_grad_(), bias.requires_grad_()


def layer_of(scores=32, *, dtype=torch.float64):
    """Return a layer of 12 channels with the golden parameters."""
    layer = KDLayer(12, scores).to(dtype)
    values, gain, bias = golden_layer(scores)
    given = {
        "score_kernel": wave((scores, 12, 1, 1), a=0.4, s=0.6, q=201, c=0.0).flatten(1),
        "value_kernel": values,
        "norm.weight": gain,
        "norm.bias": bias,
    }
    layer.load_state_dict({k: v.detach() for k, v in given.items()}, strict=False)
    return layer


def captured(layer, x):
    scores = []
    handle = layer.scores.register_forward_hook(lambda _m, _i, output: scores.append(output))
    out = layer(x)
    handle.remove()
    return out, scores[0]


def written_out(layer, x):
    """Return output and scores as torch's own operations give them."""
    kernel = F.normalize(layer.score_kernel, dim=1, eps=1e-4)[:, :, None, None]
    scores = layer.score_scale * F.conv2d(F.normalize(x, dim=1, eps=1e-4), kernel)
    norm = layer.norm
    mean, variance = (None, None) if norm.training else (norm.running_mean, norm.running_var)
    weights = F.relu(F.batch_norm(scores, mean, variance, norm.weight, norm.bias, norm.training, 0.1, norm.eps))
    values = F.normalize(layer.value_kernel, dim=1, eps=1e-4)[:, :, None, None]
    change = layer.value_scale * F.conv2d(F.normalize(weights, dim=1, eps=1e-4), values)
    return x + layer.alpha * change, scores


def with_gradients(forward, layer, x, *, scores_too=True):
    """Return output, scores, and the gradients of a mixture of both for input and parameters."""
    x = x.detach().clone().requires_grad_()
    out, scores = forward(layer, x)
    total = (out * torch.cos(torch.arange(out.numel(), dtype=x.dtype)).view_as(out)).sum()
    if scores_too:
        total = total + (scores * torch.sin(torch.arange(scores.numel(), dtype=x.dtype)).view_as(scores)).sum()
    gradients = torch.autograd.grad(total, [x, *layer.parameters()])
    return out.detach(), scores.detach(), *gradients


def random_layer(channels, scores, *, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    layer = KDLayer(channels, scores, alpha=0.7, score_scale=2.0, output_scale=1.5).to(dtype)
    with torch.no_grad():
        layer.norm.weight.uniform_(-1, 2)
        layer.norm.bias.uniform_(-1, 1)
        layer.norm.running_mean.uniform_(-1, 1)
        layer.norm.running_var.uniform_(0.5, 2)
    return layer


def test_hand_computed_value():
    # x = (3, 4), kernels (1, 0) and (0, 1), scale 5: scores 5 * (0.6, 0.8) = (3, 4). A batch norm that changes nothing
    # and the ReLU leave them; their direction is (0.6, 0.8) again. Values (1, 0) and (0, 2), of direction (0, 1):
    # (0.6, 0.8), scale 1; x + 2 * (0.6, 0.8) = (4.2, 5.6).
    layer = KDLayer(2, 2, alpha=2.0, score_scale=5.0).eval()
    layer.norm.eps = 0.0
    with torch.no_grad():
        layer.score_kernel.copy_(torch.eye(2))
        layer.value_kernel.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    out, scores = captured(layer, torch.tensor([3.0, 4.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(scores.flatten(), torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(out.flatten(), torch.tensor([4.2, 5.6]))


def test_golden_scores():
    layer = layer_of()
    features = wave((8, 12, 4, 4), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    _, scores = captured(layer, features)
    first = (2.228982274463175, 0.015727577293510802, -1.1460120715445568, 0.1964162122417254)
    Summary(49.8346122556912, 1.273292727439613, first).matches(scores)
    # The read-out sum_k t[k] cos(0.37 k + 0.2) of the scores.
    readout = torch.cos(0.37 * torch.arange(4096, dtype=torch.float64) + 0.2).view(8, 32, 4, 4)
    of_features, of_kernel, of_scale = torch.autograd.grad(
        (scores * readout).sum(), [features, layer.score_kernel, layer.score_scale]
    )
    first = (0.9332133610732797, 0.40776279966100054, -0.042117827412835825, -0.31071604380046286)
    Summary(17.920857734477742, 21.506961031674457, first).matches(of_features)
    first = (0.7958518400407243, 2.1065593476393105, 1.339946202647924, -3.9958943180606292)
    Summary(50.688109592597215, -9.548487956425912, first).matches(of_kernel)
    assert of_scale.item() == pytest.approx(0.4244309091465355)


GOLDEN = {
    "train": {
        "features": (
            34.19381035012509, 2.388316249120086,
            (0.13021445757969985, -0.19802336130722503, -0.16123318228507985, -0.8854206294563609),
        ),
        "scores": (
            3.662986709377211, 0.19856334825003058,
            (0.003004681345726038, -0.060468646428648666, -0.0011392341154644477, -0.0016460490097152006),
        ),
        "values": (
            9.301316282264057, 1.7896738006036057,
            (-0.6111500588164753, -0.6076909001454918, -0.35113305873892164, -0.6051178331317641),
        ),
        "gain": (
            1.0440782035174252, 0.668897733091056,
            (0.31133857916609436, -0.39002140689467124, 0.18757621728302273, 0.3523814814289582),
        ),
        "bias": (
            1.0590510641287272, 0.4769053461743383,
            (0.23881963796987604, -0.218874993163427, 0.23206324128429806, 0.2433246729209863),
        ),
    },
    "eval": {
        "features": (
            34.103881361866335, 2.454785542422378,
            (-0.12660310225021731, -0.32044942377743346, -0.21257968768737193, -0.9772725804399145),
        ),
        "scores": (3.9440125860079345, -1.1172889473795493, (0.019158112057812076, -0.04543666307792556, 0.0, 0.0)),
        "values": (
            10.080861699069896, 0.1886662843141388,
            (-0.8989079767288731, -0.5041067743114829, -0.3246505192391529, -0.5919070339582171),
        ),
        "gain": (
            1.1065379555214487, 0.9678527638502707,
            (0.19120285268984655, -0.3971260884671782, 0.15323736728717924, 0.3430534426354997),
        ),
        "bias": (
            1.359441096279019, 1.4870391373698673,
            (0.48899663344783617, -0.12115275027545114, 0.23819990143823344, 0.2768774917623772),
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("mode", list(GOLDEN))
def test_golden_second_half(mode):
    # Scores are given there: they are the rows, and the kernel is the identity.
    scores = wave((8, 20, 4, 4), a=0.9, s=0.4, q=51, c=0.0).requires_grad_()
    x = wave((8, 12, 4, 4), a=1.0, s=1.1, q=91, c=0.0)
    values, gain, bias = golden_layer(20)
    running = wave((20,), a=0.2, s=0.3, q=61, c=0.0), wave((20,), a=0.15, s=0.5, q=67, c=1.0)
    # As many channels come out as went in: the last 8 are zeros.
    out, _ = ManyBlocks.apply(
        scores,
        torch.eye(20, dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
        gain,
        bias,
        F.pad(values, (0, 0, 0, 8)),
        torch.ones(1, dtype=torch.float64),
        1.0,
        Norm(*running, training=mode == "train", momentum=0.1, eps=1e-5),
        False,
    )
    features = x + (out - scores)[:, :12]
    expected = {name: Summary(*summary) for name, summary in GOLDEN[mode].items()}
    expected["features"].matches(features)
    readout = torch.cos(0.37 * torch.arange(1536, dtype=torch.float64) + 0.2).view_as(features)
    given = {"scores": scores, "values": values, "gain": gain, "bias": bias}
    for name, found in zip(given, torch.autograd.grad((features * readout).sum(), list(given.values())), strict=True):
        expected[name].matches(found)
    if mode == "train":
        first = (0.0682427198436238, 0.15303531901376638, -0.08453578449235216, -0.05221888144363271)
        Summary(0.6737891445182863, -0.19276013695128802, first).matches(running[0])
        first = (1.0158366556172236, 1.0473439503140864, 0.8855162868809882, 0.8956293386263564)
        Summary(4.233159713591127, 2.175998257883707, first).matches(running[1])


def test_golden_total():
    # Cross-entropy of a linear classifier on the averaged output, and the divergence of the scores.
    layer = layer_of()
    features = wave((8, 12, 4, 4), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    weight, bias = wave((5, 12), a=0.3, s=0.6, q=71, c=0.0), wave((5,), a=0.2, s=0.8, q=73, c=0.0)
    out, scores = captured(layer, features)
    entropy = F.cross_entropy(F.linear(out.mean((2, 3)), weight, bias), (7 * torch.arange(8) + 3) % 5)
    teacher, centres = wave((8, 16, 4, 4), a=0.5, s=0.8, q=77, c=0.0), wave((32, 16), a=0.45, s=1.9, q=301, c=0.0)
    total = entropy + soft_assignment_loss(scores, teacher, centres)
    assert entropy.item() == pytest.approx(1.6422382425604662)
    assert total.item() == pytest.approx(2.3105723610021283)
    wanted = {
        features: (
            0.07352308716264265, 0.01125518962389319,
            (0.0017048400716667066, -0.0005949028864184431, -0.00013768346423225246, -0.00025131322970390734),
        ),
        layer.score_kernel: (
            0.12723403873178737, -0.032410932942244966,
            (0.0019138651223694295, 0.0040441723902442375, -0.008812261045977383, -0.0015505032316918566),
        ),
        layer.score_scale: (0.18138307207044185, 0.17776748672240925, (0.18138307207044185,)),
        layer.value_kernel: (
            0.0504629491656739, -0.003205869367770387,
            (-0.0011547237972276128, -0.0013190467442186432, -0.0014037641244983318, -0.0008456171372850984),
        ),
        layer.value_scale: (0.00664012463211204, 0.0065077642246333806, (0.00664012463211204,)),
        layer.norm.weight: (
            0.0074568247650157226, -0.005968777186705717,
            (0.0006157044282789068, -0.0010993236116507987, -0.0023267669844337976, -0.0004922658092241061),
        ),
    }  # fmt: skip
    for found, summary in zip(torch.autograd.grad(total, list(wanted)), wanted.values(), strict=True):
        Summary(*summary).matches(found, rel=1e-5)  # the case does not bound the length of short rows


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([(1, 1, 1), (3, 2, 5), (2, 7, 3), (4, 3, 40)]),
    st.integers(1, 3),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_the_formula_written_out(sizes, height, width, training, scores_too, seed):
    batch, channels, scores = sizes
    batch += 1  # torch's own batch norm refuses a single value
    layer = random_layer(channels, scores, seed=seed).train(training)
    x = torch.randn(batch, channels, height, width, dtype=torch.float64)
    expected = with_gradients(written_out, layer, x, scores_too=scores_too)
    torch.testing.assert_close(with_gradients(captured, layer, x, scores_too=scores_too), expected)


@pytest.mark.parametrize("block_bytes", [1 << 22, 1 << 12])
@pytest.mark.parametrize(("channels", "scores"), [(8, 90), (90, 40)])
# From the output of a batch norm of its own, the scale of the scores has hardly any gradient: there is none to compare.
@pytest.mark.parametrize(("training", "scores_too"), [(True, True), (False, True), (False, False)])
def test_blocks_in_single_precision(channels, scores, training, scores_too, block_bytes, monkeypatch):
    monkeypatch.setattr(row_blocks, "CPU_BLOCK_BYTES", block_bytes)
    layer = random_layer(channels, scores).train(training)
    x = torch.randn(10, channels, 6, 6, dtype=torch.float64).relu()
    expected = with_gradients(written_out, layer, x, scores_too=scores_too)
    found = with_gradients(captured, layer.float(), x.float(), scores_too=scores_too)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


@pytest.mark.parametrize("block_bytes", [1 << 22, 1 << 9])
@pytest.mark.parametrize("training", [True, False])
def test_two_batches_before_the_backward_pass(training, block_bytes, monkeypatch):
    monkeypatch.setattr(row_blocks, "CPU_BLOCK_BYTES", block_bytes)
    layer = random_layer(3, 5).train(training)
    first, second = (torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(2))
    alone = [torch.autograd.grad(layer(x).sin().sum(), layer.score_kernel)[0] for x in (first, second)]
    outs = [layer(first), layer(second)]
    layer.train()(first)  # moves the running statistics
    found = torch.autograd.grad(sum(out.sin().sum() for out in outs), layer.score_kernel)[0]
    torch.testing.assert_close(found, alone[0] + alone[1])


@pytest.mark.parametrize("block_bytes", [1 << 22, 1 << 12])
def test_a_map_with_its_channels_last_stays_one(block_bytes, monkeypatch):
    monkeypatch.setattr(row_blocks, "CPU_BLOCK_BYTES", block_bytes)
    layer = random_layer(6, 20)
    x = torch.randn(4, 6, 5, 3, dtype=torch.float64)
    expected = with_gradients(captured, layer, x)
    apart = x.to(memory_format=torch.channels_last)
    before = apart.clone()
    torch.testing.assert_close(with_gradients(captured, layer, apart), expected)
    assert torch.equal(apart, before)
    assert layer(apart).is_contiguous(memory_format=torch.channels_last)


def test_gradient_of_the_scores_alone():
    layer, x = random_layer(3, 5), torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    gradients = []
    for forward in (captured, written_out):
        _, scores = forward(layer, x)
        wanted = [x, layer.score_kernel, layer.score_scale]
        gradients.append(torch.autograd.grad(scores.square().sin().sum(), wanted))
    torch.testing.assert_close(*gradients)


def test_gradcheck():
    layer = random_layer(3, 4)
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: captured(layer, x), (x, *layer.parameters()))


def test_running_statistics_move_as_torchs():
    layer, norm = random_layer(4, 6), torch.nn.BatchNorm1d(6).double()
    norm.load_state_dict(layer.norm.state_dict())
    for momentum in (0.1, 0.1, None):
        layer.norm.momentum = norm.momentum = momentum
        _, scores = captured(layer, torch.randn(3, 4, 2, 2, dtype=torch.float64))
        norm(scores.permute(0, 2, 3, 1).flatten(0, 2))
    torch.testing.assert_close(layer.norm.state_dict(), norm.state_dict())
    before = copy.deepcopy(layer.norm.state_dict())
    layer.eval()(torch.randn(3, 4, 2, 2, dtype=torch.float64))
    torch.testing.assert_close(layer.norm.state_dict(), before)


def test_alpha_0_changes_nothing_and_still_learns_the_scores():
    layer = KDLayer(4, 6, alpha=0.0)
    x = torch.randn(2, 4, 3, 3)
    out, scores = captured(layer, x)
    assert torch.equal(out, x)
    scores.square().sum().backward()
    assert layer.score_kernel.grad.abs().max() > 0


@pytest.mark.parametrize(
    "x",
    [torch.zeros(2, 4, 3, 3), torch.full((2, 4, 3, 3), 5.0), torch.ones(1, 4, 1, 1), 1e-12 * torch.randn(2, 4, 3, 3)],
    ids=["zeros", "constant", "one position", "tiny"],
)
def test_degenerate(x):
    layer = KDLayer(4, 6)
    found = with_gradients(captured, layer, x)
    assert all(one.isfinite().all() for one in found)
    # A short position, a small variance and a short row of weights: 1e4 each at the most, times 300.
    assert max(one.abs().max() for one in found) < 1e12


def test_no_weight_passes_the_threshold():
    layer = KDLayer(4, 6)
    with torch.no_grad():
        layer.norm.bias.fill_(-100)
    x = torch.randn(2, 4, 3, 3)
    found = with_gradients(captured, layer, x)
    assert torch.equal(found[0], x)
    assert all(one.isfinite().all() for one in found)


def test_half_precision_comes_out_as_it_went_in():
    layer, x = random_layer(4, 6, dtype=torch.float32), torch.randn(2, 4, 3, 3).bfloat16()
    expected, expected_scores = captured(layer, x.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, scores = captured(layer, x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected.bfloat16(), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(scores, expected_scores)


def test_gradients_are_full_precision_under_autocast():
    layer, x = random_layer(4, 6, dtype=torch.float32), torch.randn(2, 4, 3, 3)
    expected = with_gradients(captured, layer, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(with_gradients(captured, layer, x), expected)


@pytest.mark.parametrize("training", [True, False])
def test_compiles(training):
    layer = random_layer(4, 6, dtype=torch.float32).train(training)
    x, again = torch.randn(2, 4, 3, 3), copy.deepcopy(layer)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(again, backend="aot_eager")(x), layer(x))


def test_keeps_two_tensors_of_the_size_of_the_scores_with_its_loss():
    layer, x = KDLayer(8, 700), torch.randn(30, 8, 8, 8)
    teacher, centres = torch.randn(30, 8, 8, 8), torch.randn(700, 8)
    saved = SavedBytes(given=(x, teacher, centres))
    with saved:
        out, scores = captured(layer, x)
        (out.sum() + soft_assignment_loss(scores, teacher, centres)).backward()
    assert saved.peak <= 2.2 * scores.numel() * 4


def test_the_scores_of_a_position_lie_side_by_side():
    _, scores = captured(KDLayer(4, 6), torch.randn(2, 4, 3, 5))
    assert scores.shape == (2, 6, 3, 5)
    assert scores.permute(0, 2, 3, 1).is_contiguous()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channels": 0}, "channels must be a finite number of at least 1, found 0"),
        ({"num_scores": 0}, "num_scores must be a finite number of at least 1, found 0"),
        ({"alpha": float("nan")}, "alpha must be a finite number, found nan"),
        ({"score_scale": 0.0}, "score_scale must be a finite number above 0"),
    ],
)
def test_refuses(given, message):
    given = {"channels": 4, "num_scores": 6, **given}
    with pytest.raises(ValueError, match=message):
        KDLayer(given.pop("channels"), given.pop("num_scores"), **given)


def test_refuses_another_map():
    with pytest.raises(ValueError, match=r"a KDLayer of 4 channels takes maps \(B, 4, H, W\), found \(2, 5, 3, 3\)"):
        KDLayer(4, 6)(torch.zeros(2, 5, 3, 3))
