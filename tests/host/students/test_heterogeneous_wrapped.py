"""Methods on features that need a wrapper of the student, between families of other layouts and sizes.

With and without the mask, through a step of torchdistill's own box.
"""

import numpy as np
import pytest
import torch
from heterogeneous_pairs import IMAGES, PAIRS, built, learns_from_the_first_layer, side, step

WIDTH = 8
NEGATIVES = 20


def learned(pairs):
    """Return the student's side of the pairs of points, and the points that the teacher shows."""
    wanted = [{"student": student, "channels": channels, "size": size} for _, student, channels, size in pairs]
    return wanted, list(dict.fromkeys(teacher for teacher, *_ in pairs))


def outputs(folder, names):
    return [f"{folder}.{name}" for name in names]


def vid(pairs):
    wanted, shown = learned(pairs)
    places = {
        student: {
            "teacher": {"path": f"points.{teacher}", "io": "output"},
            "student": {"path": f"regressors.{student}", "io": "output"},
            "weight": 1,
        }
        for teacher, student, *_ in pairs
    }
    sides = (
        side(("FrozenTeacher", {"points": shown}), outputs("points", shown)),
        side(("VIDStudent", {"pairs": wanted}), outputs("regressors", places)),
    )
    return sides, {"vid": ("PooledVIDLoss", {"feature_pairs": places})}, None


def reviewkd(pairs):
    levels = [*pairs, ("pooled", "pooled", pairs[-1][2], 1)]
    wanted, shown = learned(levels)
    names = [student for _, student, *_ in levels]
    terms = {
        student: (
            "HierarchicalContextLoss",
            {
                "student_module_path": f"regressors.{student}", "student_module_io": "output",
                "teacher_module_path": f"points.{teacher}", "teacher_module_io": "output",
            },
        )
        for teacher, student, *_ in levels
    }  # fmt: skip
    sides = (
        side(("FrozenTeacher", {"points": shown}), outputs("points", shown)),
        side(("ReviewStudent", {"mid_channels": WIDTH, "pairs": wanted}), outputs("regressors", names)),
    )
    return sides, terms, None


def projected(pairs, *, normalize, **more):
    kwargs = {"pairs": [{"student": "pooled", "channels": pairs[-1][2]}], "dim": WIDTH, "normalize": normalize}
    return (
        side(("ProjectedTeacher", {"points": ["pooled"]}), ["projections.pooled"]),
        side(("ProjectedStudent", kwargs), ["regressors.pooled"], **more),
    )


def cc(pairs):
    paths = {"student_module_path": "regressors.pooled", "teacher_module_path": "projections.pooled"}
    return projected(pairs, normalize=False), {"cc": ("CorrelationLoss", paths)}, None


def cc_kernel(pairs):
    kwargs = {
        "student_linear_path": "regressors.pooled", "teacher_linear_path": "projections.pooled",
        "kernel_config": {"type": "gaussian", "gamma": 0.4, "max_p": 2}, "reduction": "batchmean",
    }  # fmt: skip
    return projected(pairs, normalize=True), {"cc": ("CCKDLoss", kwargs)}, None


def crd(pairs):
    kwargs = {
        "student_norm_module_path": "regressors.pooled", "student_empty_module_path": "supplement",
        "teacher_norm_module_path": "projections.pooled", "input_size": WIDTH, "output_size": IMAGES,
        "num_samples": IMAGES, "num_negative_samples": NEGATIVES,
    }  # fmt: skip
    wrapper = {
        "key": "CRDDatasetWrapper",
        "kwargs": {"num_negative_samples": NEGATIVES, "mode": "exact", "ratio": 1.0},
    }
    sides = projected(pairs, normalize=True, inputs=["supplement"], forward="forward_batch_supp_dict")
    return sides, {"crd": ("CRDLoss", kwargs)}, {"dataset_wrapper": wrapper}


METHODS = {"VID": vid, "CC": cc, "CC, kernel": cc_kernel, "CRD": crd, "ReviewKD": reviewkd}


def taken(method, pair, *, keep=None):
    """Take the step of a method that every call starts from the same weights; return what it left."""
    teacher, student, pairs, _ = PAIRS[pair]
    sides, losses, loader = METHODS[method](pairs)
    mask = {} if keep is None else {"criterion_wrapper": {"key": "SalientFeatureMask", "kwargs": {"keep": keep}}}
    terms = {
        name: {"criterion": {"key": key, "kwargs": kwargs}, "weight": 1.0, **mask}
        for name, (key, kwargs) in losses.items()
    }
    torch.manual_seed(0)
    np.random.seed(0)  # torchdistill draws CRD's negative samples from it
    student = built(student)
    done = step(built(teacher), student, sides=sides, terms=terms, loader=loader)
    assert learns_from_the_first_layer(student, done.student)
    assert done.adapters
    assert [name for name, gradient in done.adapters.items() if gradient is None or gradient.abs().max() == 0] == []
    return done


@pytest.mark.parametrize("pair", list(PAIRS))
@pytest.mark.parametrize("method", list(METHODS))
def test_a_step_with_no_mask_and_with_it(method, pair):
    plain, whole, masked = (taken(method, pair, keep=keep) for keep in (None, 1.0, 0.3))
    assert whole.terms == plain.terms
    for kind in ("student", "adapters"):
        expected, found = getattr(plain, kind), getattr(whole, kind)
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    assert [name for name, value in plain.terms.items() if masked.terms[name] == value] == []
