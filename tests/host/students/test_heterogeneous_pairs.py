"""Every loss on features, between families of other layouts and sizes, through a step of torchdistill's own box."""

import pytest
from heterogeneous_pairs import PAIRS, RESNET, VIT, built, learns_from_the_first_layer, side
from heterogeneous_pairs import step as take_step
from torchdistill.models.registry import get_model

HINTS = {"HintLoss": {}, "SFKDHintLoss": {"keep": 0.5}}
MAPS = {
    "AttentionTransferLoss": {},
    "SFKDAttentionLoss": {"keep": 0.5},
    "SimilarityLoss": {},
    "RelationalLoss": {},
    "ProbabilisticLoss": {},
}
CASES = [
    pytest.param(loss, pair, points, id=f"{loss} | {pair} | {points[0]}")
    for loss in (*HINTS, *MAPS)
    for pair, (_, _, all_points, _) in PAIRS.items()
    for points in all_points
]


def step(loss, kwargs, teacher, student, *, wrapper=None, hooks, paths):
    """Take one step with one loss; ``paths`` are the hooked modules of student and teacher."""
    student_path, teacher_path = paths
    term = {"key": loss, "kwargs": {**kwargs, "student_module_path": student_path, "teacher_module_path": teacher_path}}
    return take_step(
        teacher,
        student,
        sides=(side(("FrozenTeacher", {"points": [hooks]}), [teacher_path]), side(wrapper, [student_path])),
        terms={"distilled": {"criterion": term, "weight": 1.0}},
    )


@pytest.mark.parametrize(("loss", "pair", "points"), CASES)
def test_a_step_on_features(loss, pair, points):
    teacher, student = (built(section) for section in PAIRS[pair][:2])
    teacher_point, student_point, channels, size = points
    if loss in HINTS:
        wanted = {"student": student_point, "channels": channels, "size": size}
        wrapper = ("RegressorStudent", {"pairs": [wanted]})
        path = f"regressors.{student_point}"
    else:
        wrapper = ("FeatureStudent", {"points": [student_point]})
        path = f"points.{student_point}"
    taken = step(
        loss, {**HINTS, **MAPS}[loss], teacher, student, wrapper=wrapper, hooks=teacher_point,
        paths=(path, f"points.{teacher_point}"),
    )  # fmt: skip
    assert learns_from_the_first_layer(student, taken.student)
    if loss in HINTS:
        assert taken.adapters[f"regressors.{student_point}.conv.weight"].abs().max() > 0


@pytest.mark.parametrize("pair", list(PAIRS))
def test_a_step_on_class_maps(pair):
    teacher, student = (built(section) for section in PAIRS[pair][:2])
    wrapper = ("FeatureStudent", {"points": ["class_maps"]})
    paths = ("points.class_maps", "points.class_maps")
    gradients = step("CATLoss", {}, teacher, student, wrapper=wrapper, hooks="class_maps", paths=paths).student
    assert learns_from_the_first_layer(student, gradients)
    head = [name for name, p in student.named_parameters() if p.shape[0] == 10 and p.ndim == 2]
    assert len(head) == 1
    assert gradients[head[0]].abs().max() > 0


@pytest.mark.parametrize("pair", list(PAIRS))
def test_a_step_of_simkd(pair):
    teacher, student, _, point = PAIRS[pair]
    model = get_model("simkd_student", student=student, teacher=teacher, teacher_point=point, probe_size=32)
    paths = ("projector", f"points.{point}")
    gradients = step("SimKDLoss", {}, built(teacher), model, hooks=point, paths=paths).student
    assert learns_from_the_first_layer(model, gradients)
    assert not [name for name in gradients if name.startswith("head")]
    assert all(gradients[name].abs().max() > 0 for name, _ in model.named_parameters() if "projector" in name)


def test_channels_that_differ_without_a_regressor():
    teacher, student = built(VIT), built(RESNET)
    wrapper = ("FeatureStudent", {"points": ["last_map"]})
    with pytest.raises(ValueError, match=r"64 and 24.*RegressorStudent|RegressorStudent.*64"):
        step("HintLoss", {}, teacher, student, wrapper=wrapper, hooks="last_map", paths=("points.last_map",) * 2)
