import math

import pytest
import torch
from golden import Summary, wave
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import (
    DEGENERATE,
    assert_compiles,
    assert_full_precision_under_autocast,
    assert_sane,
    pair,
)
from torch.nn import functional as F

from kd_plugins.losses import MLKDLoss, mlkd_loss, mlkd_terms, soft_target_loss
from kd_plugins.losses._gram import gram_distances
from kd_plugins.transforms import standardize

both_variants = pytest.mark.parametrize("variant", ["paper", "authors"])


def of_one_batch(**kwargs):
    """The loss of a batch that holds both views, here a view and the same samples in another order."""
    module = MLKDLoss(**kwargs)

    def loss(student, teacher):
        return module(*(torch.cat([x, x.flip(0)]) for x in (student, teacher)))

    return loss


def views(batch=6, classes=9, *, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, batch, classes, generator=generator, dtype=dtype)
    return logits[0].requires_grad_(), logits[1].requires_grad_(), logits[2], logits[3]


def as_written(student, teacher, t):
    """Divergence, batch and class term of one view and temperature, with all matrices."""
    q, p = (F.softmax(x / t, dim=1) for x in (student, teacher))
    return (
        t**2 * F.kl_div(q.log(), p, reduction="batchmean"),
        (p @ p.T - q @ q.T).square().sum() / len(p),
        (p.T @ p - q.T @ q).square().sum() / p.shape[1],
    )


def test_hand_computed_terms():
    # Teacher (1, 0) twice, student (1/2, 1/2) twice, at t = 1: P P' is all 1, Q Q' all 1/2, so that the difference
    # is 4 * 1/4 = 1, over B = 2; P'P = diag(2, 0), Q'Q all 1/2: (3/2)^2 + 3 * (1/2)^2 = 3, over C = 2; KL = ln 2.
    student, teacher = torch.zeros(2, 2), torch.tensor([[200.0, 0.0], [200.0, 0.0]])
    terms = mlkd_terms(student, student, teacher, teacher, temperatures=[1])
    for view in ("weak", "strong"):
        assert terms[f"instance_{view}"].item() == pytest.approx(math.log(2))
        assert terms[f"batch_{view}"].item() == pytest.approx(1 / 2)
        assert terms[f"class_{view}"].item() == pytest.approx(3 / 2)
    total = mlkd_loss(student, student, teacher, teacher, temperatures=[1])
    assert total.item() == pytest.approx(2 * (math.log(2) + 2))


GOLDEN = {
    # sunshangquan/logit-standardization-KD, commit f6e5aa5, mdistiller/distillers/MLKD.py, MLKD.forward_train.
    "plain": {
        "kwargs": {"temperatures": (4, 3, 5, 2, 6)},
        "weight": 0.9,
        "terms": {
            "instance_weak": 4.024733913694565,
            "instance_strong": 6.164232915590727,
            "class_weak": 0.01875117579323614,
            "batch_weak": 0.005236629733789571,
        },
        "total": 10.794693954763579,
        "weak": Summary(
            l2=0.8850531792628098,
            wsum=-0.3213223648058954,
            first=(-0.004624567785878168, 0.09694637372825453, 0.006553980683188418, 0.1032757504948742),
        ),
        "strong": Summary(
            l2=0.45266543202306025,
            wsum=0.14302863096546825,
            first=(0.007028151406709659, 0.03294995898559888, 0.045261734409388264, 0.03730569536252865),
        ),
    },
    "standardized": {
        "kwargs": {"temperatures": (2, 3, 5, 2, 6), "standardize": True, "correction": 1},
        "weight": 9.0,
        "terms": {
            "instance_weak": 12.709254125500085,
            "instance_strong": 19.873647364317783,
            "class_weak": 0.2684788969657972,
            "batch_weak": 0.08853616607319457,
        },
        "total": 33.521655872808125,
        "weak": Summary(
            l2=3.1001161251229776,
            wsum=-1.43494805725261,
            first=(-0.24277907297843032, 0.1417970644295995, 0.04519743783778609, 0.6359106607518605),
        ),
        "strong": Summary(
            l2=2.1206713119530614,
            wsum=0.5230925481156489,
            first=(0.17401720734826487, 0.24238076005990816, 0.16757038547668845, 0.14536219535919254),
        ),
    },
}


def golden_views():
    student = wave((8, 10), a=1.5, s=0.3, q=17, c=0.1), wave((8, 10), a=1.3, s=0.9, q=123, c=0.0)
    teacher = wave((8, 10), a=2.5, s=1.1, q=401, c=-0.2), wave((8, 10), a=2.2, s=1.7, q=777, c=0.3)
    return (*(x.requires_grad_() for x in student), *teacher)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    case = GOLDEN[name]
    inputs = golden_views()
    terms = mlkd_terms(*inputs, variant="authors", **case["kwargs"])
    found = {term: case["weight"] * value.item() for term, value in terms.items()}
    assert found == pytest.approx(case["terms"], rel=1e-6)
    labels = (7 * torch.arange(8) + 3) % 10
    cross_entropy = sum(F.cross_entropy(view, labels) for view in inputs[:2])
    total = 0.1 * cross_entropy + case["weight"] * mlkd_loss(*inputs, variant="authors", **case["kwargs"])
    assert total.item() == pytest.approx(case["total"], rel=1e-6)
    weak, strong = torch.autograd.grad(total, inputs[:2])
    case["weak"].matches(weak)
    case["strong"].matches(strong)


def test_golden_single_terms():
    # The same source's unweighted, unmasked terms at T=2 and T=6 of both views.
    for t, expected in (
        (2, (1.6471004977940673, 0.008682809513538108, 0.02280997497990288)),
        (6, (1.8670735195082937, 0.00013849790980492217, 0.002050043272547732)),
    ):
        terms = mlkd_terms(*golden_views(), temperatures=[t])
        found = [terms[f"{level}_weak"].item() for level in ("instance", "batch", "class")]
        assert found == pytest.approx(expected, rel=1e-6)
    strong = mlkd_terms(*golden_views(), temperatures=[2])
    assert strong["batch_strong"].item() == pytest.approx(0.005749009119928369, rel=1e-6)
    assert strong["class_strong"].item() == pytest.approx(0.0168369776386725, rel=1e-6)


@pytest.mark.parametrize(("batch", "classes"), [(5, 9), (9, 5), (6, 6), (1, 4)])
def test_is_the_formula_with_its_matrices(batch, classes):
    inputs = views(batch, classes)
    loss = mlkd_loss(*inputs)
    expected = sum(
        sum(as_written(inputs[i], inputs[2 + i], t)) for i in (0, 1) for t in (2, 3, 4, 5, 6)
    )  # fmt: skip
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(
        torch.autograd.grad(loss, inputs[:2]), torch.autograd.grad(expected, inputs[:2]), strict=True
    ):
        torch.testing.assert_close(found, wanted)


def test_authors_variant_is_theirs_written_out():
    inputs = views()
    weak = {t: as_written(inputs[0], inputs[2], t) for t in (2, 3, 4, 5, 6)}
    strong = {t: as_written(inputs[1], inputs[3], t) for t in (3, 4, 5)}
    p = F.softmax(inputs[2], dim=1)
    of_samples = (p.amax(1) <= p.amax(1).median()).double().mean()
    of_classes = (p.sum(0) <= p.sum(0).median()).double().mean()
    expected = {
        "instance_weak": of_samples * sum(terms[0] for terms in weak.values()),
        "instance_strong": sum(terms[0] for terms in strong.values()) + weak[2][0] + weak[6][0],
        "batch_weak": of_samples * sum(terms[1] for terms in weak.values()),
        "class_weak": of_classes * sum(terms[2] for terms in weak.values()),
    }
    found = mlkd_terms(*inputs, variant="authors")  # their list as a set, with T = 4
    assert {k: v.item() for k, v in found.items()} == pytest.approx({k: v.item() for k, v in expected.items()})


@both_variants
def test_standardization_reaches_the_divergences_alone(variant):
    inputs = views()
    plain = mlkd_terms(*inputs, variant=variant)
    found = mlkd_terms(*inputs, standardize=True, variant=variant)
    of_scores = mlkd_terms(*(standardize(x) for x in inputs), variant=variant)
    for name, value in found.items():
        if name == "instance_strong":
            torch.testing.assert_close(value, of_scores[name])
        elif name == "instance_weak":
            # multiplied by a share that comes from the logits as they are
            share = plain[name] / mlkd_terms(*inputs, variant="paper")[name]
            torch.testing.assert_close(value, share * mlkd_terms(*(standardize(x) for x in inputs))[name])
        else:
            torch.testing.assert_close(value, plain[name])


def relative_errors(student, teacher, distances):
    """How far two distances and their gradients in float32 are from the difference of the matrices in float64."""
    student, exact = student.clone().requires_grad_(), student.double().requires_grad_()
    _, over_samples, over_classes = as_written(exact, teacher.double(), 4.0)
    expected = (over_samples * student.shape[0], over_classes * student.shape[1])
    errors = []
    for ours, theirs in zip(distances(student, teacher), expected, strict=True):
        errors.append(abs(ours.item() / theirs.item() - 1))
        (slope,) = torch.autograd.grad(theirs, exact, retain_graph=True)
        found = torch.autograd.grad(ours, student, retain_graph=True)[0].double()
        errors.append(((found - slope).norm() / slope.norm()).item())
    return errors


@pytest.mark.parametrize(("batch", "classes"), [(64, 100), (64, 10)])
@pytest.mark.parametrize("distance", [1.0, 1e-2, 1e-4])
def test_gram_distances_keep_their_precision_near_the_teacher(batch, classes, distance):
    """As good in float32 as subtracting the matrices themselves; from their norms the difference would be lost."""

    def subtracted(student, teacher):
        _, over_samples, over_classes = as_written(student, teacher, 4.0)
        return over_samples * len(student), over_classes * student.shape[1]

    def from_norms(student, teacher):
        q, p = (F.softmax(x / 4, dim=1) for x in (student, teacher))
        mixed = [(a @ b.T).square().sum() for a, b in ((p, p), (q, q), (p, q))]
        return mixed[0] + mixed[1] - 2 * mixed[2]

    generator = torch.Generator().manual_seed(0)
    teacher, noise = torch.randn(2, batch, classes, generator=generator)
    student = teacher + distance * noise
    ours = relative_errors(student, teacher, lambda z, v: gram_distances(z, v, [4.0]))
    assert max(ours) < max(1e-5, 2 * max(relative_errors(student, teacher, subtracted)))
    if distance == 1e-4:
        _, _, over_classes = as_written(student.double(), teacher.double(), 4.0)
        assert abs(from_norms(student, teacher) / (over_classes * classes) - 1) > 0.1


def test_gram_distances_keep_gradients_and_nothing_else():
    student, teacher, *_ = (x.float() for x in views(32, 50))
    student = student.detach().requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        gram_distances(student, teacher, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert sum(kept) == 2 * student.numel()


def test_is_zero_at_the_teacher():
    *_, weak, strong = views(dtype=torch.float32)
    weak, strong = weak.requires_grad_(), strong.requires_grad_()
    loss = mlkd_loss(weak, strong, weak, strong)
    assert loss.item() == 0
    assert max(g.abs().max() for g in torch.autograd.grad(loss, (weak, strong))) < 1e-5


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(9)), st.permutations(range(6)), st.sampled_from(["paper", "authors"]))
def test_knows_neither_the_order_of_classes_nor_of_samples(classes, samples, variant):
    inputs = views()
    expected = mlkd_loss(*inputs, variant=variant)
    found = mlkd_loss(*(x[:, classes][samples] for x in inputs), variant=variant)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3)])
@both_variants
def test_gradcheck(variant, shape):
    weak, strong, *teacher = views(*shape)
    assert torch.autograd.gradcheck(
        lambda w, s: mlkd_loss(w, s, *teacher, temperatures=(2, 3.5), variant=variant), (weak, strong)
    )


@both_variants
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name, variant):
    logits = DEGENERATE[name]
    # Two views, each with the divergences' sum of temperatures, and Gram terms that add less.
    assert_sane(of_one_batch(variant=variant), logits, logits.flip(1), largest_gradient=80.0)


@both_variants
def test_one_sample(variant):
    terms = mlkd_terms(*views(1, 5), variant=variant)
    assert all(value.isfinite() for value in terms.values())


def test_masked_teacher_classes_are_read():
    student, teacher = pair()
    masked = teacher.masked_fill(teacher < 0, -torch.inf)
    loss = mlkd_loss(student, student, masked, masked, temperatures=[2.0])
    assert torch.isfinite(loss)
    kl = soft_target_loss(student, masked, temperature=2.0)
    torch.testing.assert_close(loss - 2 * kl, 2 * sum(gram / n for gram, n in zip(
        gram_distances(student, masked, [2.0]), (8, 10), strict=True
    )))  # fmt: skip


@both_variants
def test_autocast(variant):
    assert_full_precision_under_autocast(of_one_batch(variant=variant))


@both_variants
def test_compiles(variant):
    """A temperature that the authors read elsewhere and one that they do not: each more repeats the same graph."""
    assert_compiles(of_one_batch(variant=variant, temperatures=(2.0, 4.0)))


def test_a_second_derivative_is_refused():
    student, teacher = pair()
    loss = gram_distances(student, teacher, [2.0])[0]
    with pytest.raises(RuntimeError, match="double backward is not supported"):
        torch.autograd.grad(loss, student, create_graph=True)


def test_refuses():
    inputs = views()
    with pytest.raises(ValueError, match="variant must be one of 'paper', 'authors', found 'code'"):
        mlkd_loss(*inputs, variant="code")
    for wrong in ((), 4.0, "234"):
        with pytest.raises(ValueError, match="temperatures must be a non-empty list of numbers above 0"):
            mlkd_loss(*inputs, temperatures=wrong)
    with pytest.raises(ValueError, match="every one of temperatures must be a finite number above 0, found -1"):
        mlkd_loss(*inputs, temperatures=(2, -1))
    with pytest.raises(ValueError, match=r"two views of the same batch, found logits of shapes \(6, 9\) and \(4, 9\)"):
        mlkd_loss(inputs[0], inputs[1][:4], inputs[2], inputs[3][:4])
    with pytest.raises(ValueError, match=r"two views of every image in one batch.* found 3 rows.*key: TwoViews"):
        MLKDLoss()(torch.zeros(3, 4), torch.zeros(3, 4))


def test_module():
    module = MLKDLoss(temperatures=[2, 3], variant="authors", standardize=True, correction=1)
    assert repr(module) == "MLKDLoss(temperatures=(2, 3), variant='authors', standardize=True, correction=1)"
    assert not module.state_dict()
    weak, strong, *teacher = views()
    expected = mlkd_loss(weak, strong, *teacher, temperatures=(2, 3), variant="authors", standardize=True, correction=1)
    torch.testing.assert_close(module(torch.cat([weak, strong]), torch.cat(teacher)), expected)
    with pytest.raises(ValueError, match="correction must be one of 0, 1, found 2"):
        MLKDLoss(correction=2)


def test_what_a_transform_changes_reaches_the_divergences_alone():
    weak, strong, *teacher = views()
    plain = torch.cat([weak, strong]), torch.cat(teacher)
    loss = MLKDLoss(variant="authors")(*(standardize(x) for x in plain), untransformed=plain)
    torch.testing.assert_close(loss, mlkd_loss(weak, strong, *teacher, variant="authors", standardize=True))
