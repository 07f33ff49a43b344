import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from golden import Summary, wave
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import value_and_gradient

from kd_plugins.losses import LetKDLoss, kd_layer_loss, subclass_loss, subclass_targets
from kd_plugins.statistics import IntermediateStatistics

# Sub-class of every position of the golden case, by sample: the class is (7 b + 3) mod 5.
FIRST_SUBCLASSES = [9, 9, 11, 10, 9, 9, 9, 11, 9, 9, 9, 9, 9, 9, 9, 9, 1, 0, 2, 1, 1, 1, 1, 0, 2, 1, 1, 2, 1, 1, 1, 1]


def made_up(projection, bias, centres, table, counts=None):
    counts = torch.ones(len(centres), dtype=torch.int64) if counts is None else counts
    return IntermediateStatistics(projection, bias, centres, counts, centres, table)


def golden_statistics():
    scalings = wave((32, 9), a=0.25, s=1.6, q=131, c=0.0)[:, :6]
    table = wave((15, 15), a=1.0, s=2.6, q=501, c=0.0).abs()
    mean = wave((32,), a=0.3, s=1.0, q=137, c=0.0)
    centres = wave((15, 6), a=0.8, s=2.2, q=401, c=0.0)
    return made_up(scalings.T, -mean @ scalings, centres, table / table.sum(1, keepdim=True))


def random_statistics(classes=3, subclasses=2, channels=5, components=2, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    total = classes * subclasses
    shapes = ((components, channels), (components,), (total, components), (total, total))
    projection, bias, centres, table = (torch.randn(*s, generator=generator, dtype=dtype) for s in shapes)
    return made_up(projection, bias, centres, table.softmax(1))


def example(*, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(4, 6, 3, 2, generator=generator, dtype=dtype).requires_grad_()
    features = torch.randn(4, 5, 3, 2, generator=generator, dtype=dtype)
    return scores, features, torch.tensor([2, 0, 1, 2])


def loss_of(statistics, labels):
    return lambda scores, features: subclass_loss(scores, features, labels, statistics, subclasses=2)


def test_hand_computed_value():
    # Image of class 1, whose sub-classes are at 0 and 4: 1 is nearest to the first, row 2: (0, 0, 3/4, 1/4).
    # Against even scores of 1/4: 3/4 log 3 + 1/4 log 1.
    expected = 0.75 * math.log(0.75 * 4) + 0.25 * math.log(0.25 * 4)
    table = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.75, 0.25], [0, 0, 0, 1]])
    known = made_up(torch.tensor([[2.0]]), torch.tensor([-1.0]), torch.tensor([[1.0], [9.0], [0.0], [4.0]]), table)
    value = subclass_loss(torch.zeros(1, 4, 1, 1), torch.ones(1, 1, 1, 1), torch.tensor([1]), known, subclasses=2)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_golden():
    # adagorgun/letKD-framework, commit 4fb2289, valueLayer_subclass.py, valueLayer.forward.
    features = wave((8, 32, 4, 4), a=1.2, s=0.8, q=77, c=0.0)
    scores = wave((8, 15, 4, 4), a=1.0, s=0.4, q=51, c=0.0).requires_grad_()
    labels, known = (7 * torch.arange(8) + 3) % 5, golden_statistics()
    targets = subclass_targets(features, labels, known, subclasses=3).permute(0, 2, 3, 1).flatten(0, 2)
    first = (0.08485330781415033, 0.07741647327590222, 0.06181161577123688, 0.019860406068058528)
    Summary(3.4952583297202793, -0.7898188434215048, first).matches(targets)
    assert torch.equal(targets[:32], known.score_table[FIRST_SUBCLASSES])
    value = subclass_loss(scores, features, labels, known, subclasses=3)
    assert value.item() == pytest.approx(0.5785250225416632, rel=1e-9)
    Summary(
        0.02428280139078563,
        -0.006341051695249327,
        (7.907682192451892e-05, 0.0002554988340375124, 0.00012187787726507604, 0.00022600145485021251),
    ).matches(torch.autograd.grad(value, scores)[0])


def test_slow_loop():
    known, (scores, features, labels) = random_statistics(), example()
    total, rows = 0.0, []
    for b in range(4):
        for h in range(3):
            for w in range(2):
                x = known.projection @ features[b, :, h, w] + known.projection_bias
                own = range(2 * labels[b], 2 * labels[b] + 2)
                nearest = min(own, key=lambda k: (x - known.subclass_centres[k]).norm().item())
                rows.append(known.score_table[nearest])
                total += F.kl_div(scores[b, :, h, w].log_softmax(0), rows[-1], reduction="sum").item()
    targets = subclass_targets(features, labels, known, subclasses=2)
    assert torch.equal(targets.permute(0, 2, 3, 1).flatten(0, 2), torch.stack(rows))
    assert loss_of(known, labels)(scores, features).item() == pytest.approx(total / 24)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(4)), st.permutations(range(6)), st.integers(0, 99))
def test_knows_neither_the_order_of_images_nor_that_of_positions(images, positions, seed):
    known, (scores, features, labels) = random_statistics(seed=seed), example(seed=seed)
    moved = [x.flatten(2)[images][:, :, positions].unflatten(2, (2, 3)) for x in (scores, features)]
    torch.testing.assert_close(loss_of(known, labels[images])(*moved), loss_of(known, labels)(scores, features))


def test_equals_the_loss_of_its_targets():
    known, (scores, features, labels) = random_statistics(), example()
    targets = subclass_targets(features, labels, known, subclasses=2)
    expected = value_and_gradient(kd_layer_loss, scores, targets)
    torch.testing.assert_close(value_and_gradient(loss_of(known, labels), scores, features), expected)


def test_a_subclass_that_does_not_exist_is_never_the_nearest():
    known = random_statistics()
    centres = known.subclass_centres.clone()
    centres[::2] = 0
    counts = torch.tensor([0, 3, 0, 4, 0, 5])
    _, features, labels = example()
    lonely = replace(known, subclass_centres=centres, subclass_counts=counts)
    targets = subclass_targets(0 * features, labels, lonely, subclasses=2)
    assert torch.equal(targets[:, :, 0, 0], known.score_table[2 * labels + 1])


def test_zeros_in_the_table():
    known = replace(random_statistics(), score_table=torch.eye(6, dtype=torch.float64))
    scores, features, labels = example()
    value, gradient = value_and_gradient(loss_of(known, labels), 100 * scores, features)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_gradcheck():
    known, (scores, features, labels) = random_statistics(), example()
    assert torch.autograd.gradcheck(lambda s: loss_of(known, labels)(s, features), scores)


def test_full_precision_under_autocast():
    known, (scores, features, labels) = random_statistics(dtype=torch.float32), example(dtype=torch.float32)
    features = features.bfloat16()
    expected = value_and_gradient(loss_of(known, labels), scores, features.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = value_and_gradient(loss_of(known, labels), scores, features)
    torch.testing.assert_close(found, expected)


def test_compiles():
    known, (scores, features, labels) = random_statistics(dtype=torch.float32), example(dtype=torch.float32)
    module = LetKDLoss(known, subclasses=2)

    def loss(s, f):
        return module(s, f, labels)

    expected = value_and_gradient(loss, scores, features)
    torch.compiler.reset()
    found = value_and_gradient(torch.compile(loss, fullgraph=True, backend="aot_eager"), scores, features)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": None}, "LetKDLoss needs the labels of the batch as targets, found None"),
        ({"labels": torch.tensor([0, 1, 2, 3])}, r"must lie in 0..2, the classes of the logits, found 0..3"),
        ({"features": torch.zeros(4, 7, 3, 2)}, "must have the 5 channels that the statistics were fitted on"),
        ({"scores": torch.zeros(4, 8, 3, 2)}, "each of the 6 sub-classes of the statistics, found 8: num_scores"),
        ({"subclasses": 4}, "subclasses must divide the 6 sub-classes of the statistics, found 4"),
        ({"features": torch.zeros(4, 5, 1, 2)}, "compare an earlier layer of the teacher"),
    ],
)
def test_refuses(given, message):
    scores, features, labels = example()
    arguments = {"scores": scores, "features": features, "labels": labels, "subclasses": 2, **given}
    subclasses = arguments.pop("subclasses")
    with pytest.raises(ValueError, match=message):
        subclass_loss(*arguments.values(), random_statistics(), subclasses=subclasses)


def test_module():
    known, (scores, features, labels) = random_statistics(), example()
    loss = LetKDLoss(known, subclasses=2)
    assert torch.equal(loss(scores, features, labels), loss_of(known, labels)(scores, features))
    assert not loss.state_dict()
    assert repr(loss) == "LetKDLoss(intermediate, 6 sub-classes, 2 of a class)"
