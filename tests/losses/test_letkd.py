import math

import pytest
import torch
import torch.nn.functional as F
from feature_checks import maps
from golden import Summary, wave
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import value_and_gradient

from kd_plugins.bench.memory import SavedBytes
from kd_plugins.losses import LetKDLoss, kd_layer_loss, soft_assignment, soft_assignment_loss
from kd_plugins.statistics import PenultimateStatistics
from kd_plugins.transforms import row_blocks

# adagorgun/letKD-framework, commit 4fb2289: vector_quantization.py (VectorQuantizerEMA in eval mode), tools.py
# (Conv2dCos) and classification_quest_value.py; one case, temperature 1.
GOLDEN_ASSIGNMENT = Summary(
    2.7916297056451733,
    -1.4006780150627263,
    (0.04362292473820096, 0.0067698228011204, 0.013831087639938844, 0.01747478487754686),
)
GOLDEN_LOSS = 0.6683341184416622
GOLDEN_GRADIENT = Summary(
    0.029495221522891545,
    0.01100264027711859,
    (0.0012223758664053742, -0.0011979151889623472, -0.0005856455929788872, -0.00021624588093431364),
)


def golden_teacher_and_centres():
    return wave((8, 16, 4, 4), a=0.5, s=0.8, q=77, c=0.0), wave((32, 16), a=0.45, s=1.9, q=301, c=0.0)


def golden_scores(features):
    kernel = F.normalize(wave((32, 12, 1, 1), a=0.4, s=0.6, q=201, c=0.0), dim=1)
    return 3 * F.conv2d(F.normalize(features, dim=1), kernel)


def example(batch=3, scores=5, channels=4, size=3, *, dtype=torch.float64, seed=0):
    """Return scores with a gradient, a teacher's features and centres."""
    student, teacher = maps((batch, scores, size, size), (batch, channels, size, size), dtype=dtype, seed=seed)
    centres = torch.randn(scores, channels, generator=torch.Generator().manual_seed(seed + 1), dtype=dtype)
    return student, teacher, centres


def written_out(scores, teacher, centres, sharpness=1.0):
    rows = teacher.permute(0, 2, 3, 1).flatten(0, 2)
    targets = F.softmax(-sharpness * torch.cdist(rows, centres).square(), dim=1)
    return F.kl_div(F.log_softmax(scores.permute(0, 2, 3, 1).flatten(0, 2), dim=1), targets, reduction="batchmean")


def test_hand_computed_value():
    # Two centres at distances 0 and 1: targets e^0 / (e^0 + e^-1) and the rest. Scores 0 and log 3: 1/4 and 3/4.
    p = 1 / (1 + math.exp(-1))
    expected = p * math.log(p / 0.25) + (1 - p) * math.log((1 - p) / 0.75)
    scores = torch.tensor([[0.0, math.log(3)]])
    found = soft_assignment_loss(scores, torch.tensor([[2.0]]), torch.tensor([[2.0], [3.0]]))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_golden_assignment():
    teacher, centres = golden_teacher_and_centres()
    found = soft_assignment(teacher, centres)
    assert found.shape == (8, 32, 4, 4)
    GOLDEN_ASSIGNMENT.matches(found.permute(0, 2, 3, 1))
    assert found.argmax(1).flatten()[:8].tolist() == [13, 8, 31, 18, 9, 21, 4, 8]


def test_golden_loss():
    features = wave((8, 12, 4, 4), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    for loss in (soft_assignment_loss, lambda s, f, c: kd_layer_loss(s, soft_assignment(f, c))):
        value = loss(golden_scores(features), *golden_teacher_and_centres())
        assert value.item() == pytest.approx(GOLDEN_LOSS, rel=1e-9)
        GOLDEN_GRADIENT.matches(torch.autograd.grad(value, features)[0])


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 3), st.floats(0.1, 4), st.integers(0, 99)
)
def test_the_formula_written_out(batch, count, channels, size, sharpness, seed):
    scores, teacher, centres = example(batch, count, channels, size, seed=seed)
    expected = value_and_gradient(lambda s, f: written_out(s, f, centres, sharpness), scores, teacher)
    found = value_and_gradient(lambda s, f: soft_assignment_loss(s, f, centres, sharpness=sharpness), scores, teacher)
    torch.testing.assert_close(found, expected)
    targets = soft_assignment(teacher, centres, sharpness=sharpness)
    torch.testing.assert_close(value_and_gradient(kd_layer_loss, scores, targets), expected)


def test_many_blocks_in_single_precision(monkeypatch):
    monkeypatch.setattr(row_blocks, "CPU_BLOCK_BYTES", 1 << 16)
    scores, teacher, centres = example(4, 100, 20, 8, dtype=torch.float32)
    assert len(row_blocks.row_blocks(torch.empty(4 * 64, 100))) == 2
    wide = value_and_gradient(lambda s, f: written_out(s, f, centres.double()), scores.double(), teacher.double())
    found = value_and_gradient(lambda s, f: soft_assignment_loss(s, f, centres), scores, teacher)
    assert found[0].item() == pytest.approx(wide[0].item(), rel=1e-5)
    torch.testing.assert_close(found[1].double(), wide[1], rtol=1e-5, atol=1e-5 * wide[1].abs().max().item())


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(5)), st.lists(st.floats(-50, 50), min_size=4, max_size=4), st.integers(0, 99))
def test_knows_neither_the_order_of_the_centres_nor_where_the_origin_lies(order, move, seed):
    scores, teacher, centres = example(seed=seed)
    move = torch.tensor(move, dtype=torch.float64)
    moved = soft_assignment_loss(scores[:, order], teacher + move[:, None, None], (centres + move)[order])
    torch.testing.assert_close(moved, soft_assignment_loss(scores, teacher, centres))


def test_slow_loop():
    scores, teacher, centres = example(2, 3, 2, 2)
    total = 0.0
    for b in range(2):
        for h in range(2):
            for w in range(2):
                s, x = scores[b, :, h, w].tolist(), teacher[b, :, h, w].tolist()
                close = [math.exp(-sum((u - v) ** 2 for u, v in zip(x, c, strict=True))) for c in centres.tolist()]
                p = [c / sum(close) for c in close]
                q = [math.exp(v) / sum(map(math.exp, s)) for v in s]
                total += sum(u * math.log(u / v) for u, v in zip(p, q, strict=True))
    assert soft_assignment_loss(scores, teacher, centres).item() == pytest.approx(total / 8)


def test_scores_that_say_what_the_teacher_says():
    _, teacher, centres = example()
    scores = soft_assignment(teacher, centres).log().requires_grad_()
    value = soft_assignment_loss(scores, teacher, centres)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.grad(value, scores)[0].abs().max() < 1e-12


def test_a_larger_teacher_map_is_averaged_first():
    scores, _, centres = example(size=2)
    teacher = torch.randn(3, 4, 6, 4, dtype=torch.float64)
    pooled = F.avg_pool2d(teacher, (3, 2))
    torch.testing.assert_close(
        soft_assignment_loss(scores, teacher, centres), soft_assignment_loss(scores, pooled, centres)
    )


def test_gradcheck():
    scores, teacher, centres = example(2, 3, 2, 2)
    assert torch.autograd.gradcheck(lambda s: soft_assignment_loss(s, teacher, centres), scores)
    targets = soft_assignment(teacher, centres)
    assert torch.autograd.gradcheck(lambda s: kd_layer_loss(s, targets), scores)


def test_a_second_derivative_is_refused():
    scores, teacher, centres = example()
    value = soft_assignment_loss(scores, teacher, centres)
    with pytest.raises(RuntimeError, match="double backward is not supported"):
        torch.autograd.grad(value, scores, create_graph=True)


@pytest.mark.parametrize(
    ("scores", "teacher", "centres"),
    [
        (torch.zeros(2, 3, 1, 1), torch.zeros(2, 4, 1, 1), torch.zeros(3, 4)),
        (torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), torch.zeros(1, 1)),
        (1e4 * torch.eye(3)[:, :, None, None], -1e3 * torch.eye(3)[:, :, None, None], 1e3 * torch.eye(3)),
        (torch.zeros(1, 2, 1, 1), torch.full((1, 1, 1, 1), 1e4), torch.tensor([[0.0], [1.0]])),
        (
            torch.ones(2, 3, 1, 1, dtype=torch.bfloat16),
            torch.ones(2, 2, 1, 1, dtype=torch.float16),
            torch.eye(3)[:, :2],
        ),
    ],
    ids=["zeros", "one centre", "huge", "far away", "half precision"],
)
def test_degenerate(scores, teacher, centres):
    teacher.requires_grad_()
    value, gradient = value_and_gradient(lambda s, f: soft_assignment_loss(s, f, centres), scores, teacher)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().max() <= 1
    assert teacher.grad is None


def test_full_precision_under_autocast():
    scores, teacher, centres = example(dtype=torch.float32)
    teacher = teacher.bfloat16()

    def loss(s, f):
        return soft_assignment_loss(s, f, centres)

    expected = value_and_gradient(loss, scores, teacher.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = value_and_gradient(loss, scores, teacher)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("autocast", [False, True])
def test_compiles(autocast):
    scores, teacher, centres = example(dtype=torch.float32)

    def both(s, f):
        return soft_assignment_loss(s, f, centres) + kd_layer_loss(s, soft_assignment(f, centres))

    expected = value_and_gradient(both, scores, teacher)
    torch.compiler.reset()
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = value_and_gradient(compiled, scores, teacher)
    torch.testing.assert_close(found, expected)


def test_keeps_one_tensor_of_the_size_of_the_scores():
    scores, teacher, centres = example(8, 600, 20, 8, dtype=torch.float32)
    saved = SavedBytes(given=(scores, teacher, centres))
    with saved:
        soft_assignment_loss(scores, teacher, centres).backward()
    assert saved.peak <= 1.05 * scores.numel() * 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sharpness": 0}, "sharpness must be a finite number above 0, found 0"),
        ({"scores": torch.zeros(2, 4, 2, 2)}, "num_scores of the student's KD layer must be 3"),
        ({"teacher": torch.zeros(2, 7, 2, 2)}, r"the 2 channels that the statistics .* found shape \(2, 7, 2, 2\)"),
        ({"teacher": torch.zeros(2, 2, 1, 1)}, "compare an earlier layer of the teacher, or put the KD layer after"),
        ({"teacher": torch.zeros(1, 2, 2, 2)}, "features must be of the images of the scores"),
        ({"teacher": torch.zeros(8, 2)}, "must both be maps or both be rows"),
        ({"scores": torch.zeros(2, 3, 4)}, r"scores must be a map of shape \(B, c, H, W\) or rows .* \(2, 3, 4\)"),
        ({"scores": None}, "scores must be features of shape .* found NoneType"),
    ],
)
def test_refuses(given, message):
    arguments = {"scores": torch.zeros(2, 3, 2, 2), "teacher": torch.zeros(2, 2, 2, 2), "sharpness": 1.0, **given}
    with pytest.raises(ValueError, match=message):
        soft_assignment_loss(
            arguments["scores"], arguments["teacher"], torch.zeros(3, 2), sharpness=arguments["sharpness"]
        )


def test_refuses_targets_of_another_shape():
    with pytest.raises(ValueError, match=r"targets must have the shape of the scores \(2, 3\), found \(2, 4\)"):
        kd_layer_loss(torch.zeros(2, 3), torch.zeros(2, 4))


def test_module():
    scores, teacher, centres = example()
    loss = LetKDLoss(PenultimateStatistics(centres), sharpness=2.0)
    assert torch.equal(loss(scores, teacher), soft_assignment_loss(scores, teacher, centres, sharpness=2.0))
    assert not loss.state_dict()
    assert not list(loss.parameters())
    assert repr(loss) == "LetKDLoss(penultimate, 5 centres, sharpness=2.0)"


def test_far_from_all_centres_nothing_drowns_in_rounding():
    torch.manual_seed(0)
    scores, features, centres = torch.randn(2, 6, 3, 3), 1e4 + torch.randn(2, 4, 3, 3), torch.randn(6, 4)
    exact = soft_assignment_loss(scores.double(), features.double(), centres.double())
    found = soft_assignment_loss(scores, features, centres)
    assert exact > 0
    torch.testing.assert_close(found.double(), exact, rtol=1e-2, atol=0)
