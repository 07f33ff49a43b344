import math

import gather_worker
import pytest
import torch
import torch.multiprocessing as mp
from golden import Summary, assert_golden, golden_student, golden_teacher
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import (
    DEGENERATE,
    assert_compiles,
    assert_full_precision_under_autocast,
    assert_sane,
    pair,
    value_and_gradient,
)

from kd_plugins.losses import CKDLoss, ckd_loss
from kd_plugins.losses._cosine import GRADIENT_NORM_FLOOR, unit_rows
from kd_plugins.losses.ckd import TRIPLES

all_triples = pytest.mark.parametrize("triple", TRIPLES)


def with_triple(triple):
    return lambda student, teacher: ckd_loss(student, teacher, triple=triple)


def loop_reference(student, teacher, tau, triple):
    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    z, v = student.tolist(), teacher.tolist()
    total = 0.0
    for i in range(len(z)):
        positive = cosine(z[i], v[i])
        scores = []
        for j in range(len(z)):
            negative = {
                "teacher_student_student": lambda: cosine(v[i], z[j]),  # noqa: B023
                "student_teacher_teacher": lambda: cosine(z[i], v[j]),  # noqa: B023
                "student_teacher_student": lambda: cosine(z[i], z[j]),  # noqa: B023
            }[triple]
            scores.append(math.exp((positive if i == j else negative()) / tau))
        total -= math.log(scores[i] / sum(scores))
    return total / len(z)


def test_hand_computed_value():
    # Orthogonal rows, student equal to teacher up to length: cosines are 1 on the diagonal, 0 off it.
    # Each row costs -ln(e^(1/tau) / (e^(1/tau) + 1)) = ln(1 + e^-2) at tau = 1/2.
    student = torch.tensor([[3.0, 0.0], [0.0, 0.7]])
    loss = ckd_loss(student, torch.eye(2), temperature=0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_golden():
    # ZhouXinzzzzz/CKD, commit f16a145, mdistiller/distillers/CKD.py, contrastive_loss at T=1.
    student = golden_student()
    gradient = Summary(
        l2=0.06648238007984707,
        wsum=-0.0026497457607632287,
        first=(
            -0.004350048634475556,
            -0.000138277986856266,
            -0.003968937840082189,
            0.023901173111990512,
            -0.009718348242147491,
            -0.013105160422317817,
            -0.002271290489719779,
            -0.006046050660307984,
        ),
    )
    assert_golden(ckd_loss(student, golden_teacher()), student, 1.9747838415722783, gradient)


@all_triples
def test_slow_loop(triple):
    student, teacher = pair()
    expected = loop_reference(student, teacher, 0.3, triple)
    assert ckd_loss(student, teacher, temperature=0.3, triple=triple).item() == pytest.approx(expected)


def test_exchanging_triples_exchanges_the_sides():
    student, teacher = pair()
    torch.testing.assert_close(
        ckd_loss(student, teacher, triple="student_teacher_teacher"), ckd_loss(teacher, student.detach())
    )


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(8)), st.floats(0.5, 100), st.sampled_from(TRIPLES))
def test_knows_neither_the_order_of_samples_nor_lengths(order, scale, triple):
    loss = with_triple(triple)
    student, teacher = pair()
    expected = loss(student, teacher)
    torch.testing.assert_close(loss(student[order], teacher[order]), expected)
    torch.testing.assert_close(loss(scale * student, teacher / scale), expected)


@all_triples
def test_one_sample_has_nothing_to_tell_apart(triple):
    value, gradient = value_and_gradient(with_triple(triple), *pair(1))
    assert value == 0
    assert gradient.abs().max() < 1e-12


@all_triples
def test_gradcheck(triple):
    student, teacher = pair(3, 5)
    tau = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, t: ckd_loss(z, teacher, temperature=t, triple=triple), (student, tau))


@all_triples
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name, triple):
    logits = DEGENERATE[name]
    # A row meets its own cross-entropy and, over B, everybody's: at most 4 / 0.5.
    assert_sane(with_triple(triple), logits, logits.flip(1), largest_gradient=8.0)


def test_a_zero_student_gets_a_bounded_gradient_that_is_not_zero():
    _, gradient = value_and_gradient(ckd_loss, torch.zeros(4, 10), pair(4)[1].float())
    assert 0 < gradient.norm() < 10


def test_unit_rows_gradient_is_exact_down_to_the_floor_and_bounded_below():
    direction = pair(1, 6, seed=1)[1]
    x = unit_rows(pair(1, 6)[0].detach())
    for norm in (3.0, 1.01 * GRADIENT_NORM_FLOOR, 1e-3, 1e-15, 0.0):
        ours, theirs = ((norm * x).requires_grad_() for _ in range(2))
        (unit_rows(ours) * direction).sum().backward()
        (torch.nn.functional.normalize(theirs) * direction).sum().backward()
        if norm > GRADIENT_NORM_FLOOR:
            torch.testing.assert_close(ours.grad, theirs.grad)
        else:
            assert 0 < ours.grad.norm() <= direction.norm() / GRADIENT_NORM_FLOOR


@all_triples
def test_autocast(triple):
    assert_full_precision_under_autocast(with_triple(triple))


@all_triples
def test_compiles(triple):
    assert_compiles(with_triple(triple))


def test_a_second_derivative_is_refused():
    student, teacher = pair()
    (gradient,) = torch.autograd.grad(ckd_loss(student, teacher), student, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """What each of two processes computed: (split, triple) -> (loss, gradient)."""
    folder = tmp_path_factory.mktemp("gather")
    mp.spawn(gather_worker.run, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@all_triples
@pytest.mark.parametrize("split", gather_worker.SPLITS)
def test_gathered_processes_average_to_one_process(gathered, split, triple):
    student, teacher = gather_worker.logits()
    loss, gradient = value_and_gradient(lambda z, v: ckd_loss(z, v, temperature=0.5, triple=triple), student, teacher)
    losses, gradients = zip(*(results[split, triple] for results in gathered), strict=True)
    torch.testing.assert_close(torch.stack(losses).mean(), loss)
    # Data-parallel training divides the sum of the processes' gradients by their number.
    torch.testing.assert_close(torch.cat(gradients) / 2, gradient)


@all_triples
def test_gather_without_a_process_group_changes_nothing(triple):
    student, teacher = pair()
    alone = ckd_loss(student, teacher, triple=triple)
    assert ckd_loss(student, teacher, triple=triple, gather=True) == alone


def test_refuses():
    with pytest.raises(ValueError, match=r"triple must be one of 'teacher_student_student', .* found 'tss'"):
        ckd_loss(*pair(), triple="tss")
    with pytest.raises(ValueError, match=r"found \(2, 3\) and \(4, 3\)"):
        ckd_loss(torch.zeros(2, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found 0"):
        ckd_loss(*pair(), temperature=0)


def test_module():
    module = CKDLoss(temperature=2.0, triple="student_teacher_teacher")
    assert repr(module) == "CKDLoss(temperature=2.0, triple='student_teacher_teacher', gather=False)"
    assert not module.state_dict()
    expected = ckd_loss(*pair(), temperature=2.0, triple="student_teacher_teacher")
    torch.testing.assert_close(module(*pair()), expected)
    with pytest.raises(ValueError, match=r"triple must be one of .* found 'x'"):
        CKDLoss(triple="x")
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found 0"):
        CKDLoss(temperature=0)
