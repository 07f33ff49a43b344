import copy

import pytest
import torch
from torch import nn

from kd_plugins.host.losses.mid_level import mid_level_loss
from kd_plugins.losses import HintLoss


class PairLoss(nn.Module):
    """Stands for any loss of one pair: the mean squared difference."""

    def __init__(self, *, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, student, teacher):
        return self.scale * (student - teacher.detach()).square().mean()


class ListLoss(nn.Module):
    def forward(self, students, teachers):
        return sum((s - t).abs().sum() for s, t in zip(students, teachers, strict=True))


def test_features_of_several_pairs_are_summed():
    loss = mid_level_loss(PairLoss, wants="features")
    student, teacher = (
        io(a=torch.tensor([1.0]), b=torch.tensor([2.0])),
        io(c=torch.tensor([4.0]), d=torch.tensor([6.0])),
    )
    both = loss(student_module_path=["a", "b"], teacher_module_path=["c", "c"], scale=2.0)
    assert both(student, teacher).item() == 26.0  # 2 * (3^2 + 2^2)
    assert loss(student_module_path="b", teacher_module_path="d")(student, teacher).item() == 16.0
    assert "student=['a', 'b'] output, teacher=['c', 'c'] output" in repr(both)


class MapLoss(nn.Module):
    def forward(self, student, teacher):
        if student.shape != teacher.shape:
            raise ValueError("shapes must be equal")
        return student.sum()


def test_an_error_about_features_names_the_pair_and_its_shapes():
    loss = mid_level_loss(MapLoss, wants="features")(
        student_module_path=["a", "b"], teacher_module_path=["c", "d"], teacher_module_io="input"
    )
    maps = torch.zeros(2, 3, 4, 4)
    student, teacher = io(a=maps, b=maps), {"c": {"input": maps}, "d": {"input": torch.zeros(2, 5, 4, 4)}}
    message = (
        r"^MapLoss of the student's 'b' output \(2, 3, 4, 4\) and the teacher's 'd' input \(2, 5, 4, 4\): "
        r"shapes must be equal$"
    )
    with pytest.raises(ValueError, match=message):
        loss(student, teacher)


def test_an_error_about_lists_of_features_names_all_of_them():
    class Picky(nn.Module):
        def forward(self, students, teachers):
            raise ValueError("no")

    loss = mid_level_loss(Picky, wants="feature_lists")(student_module_path=["a"], teacher_module_path=["b"])
    message = r"student's \['a'\] output \(2, 3\) and the teacher's \['b'\] output \(4,\): no"
    with pytest.raises(ValueError, match=message):
        loss(io(a=torch.zeros(2, 3)), io(b=torch.zeros(4)))


@pytest.mark.parametrize(
    ("student", "teacher", "wanted"),
    [
        (
            torch.zeros(2, 17, 8),
            torch.zeros(2, 8, 4, 4),
            "train.student: auxiliary_model_wrapper: {key: FeatureStudent, kwargs: {points: [{name: mid, path: "
            "blocks.1, io: output, layout: NLC, prefix_tokens: 1}]}} and forward_hook: {output: [points.mid]}, and "
            "student_module_path: points.mid",
        ),
        (
            torch.zeros(2, 8, 4, 4),
            torch.zeros(2, 8),
            "train.teacher: auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {points: [{name: mid, path: "
            "blocks.1, io: output, layout: NC}]}}",
        ),
        (
            torch.zeros(2, 17, 8),
            torch.zeros(2, 8, 4, 4),
            "transforms: [{key: to_feature_map, side: student, layout: NLC, prefix_tokens: 1}]",
        ),
    ],
)
def test_what_is_no_map_wants_its_layout_declared(student, teacher, wanted):
    loss = mid_level_loss(HintLoss, wants="features")(student_module_path="blocks.1", teacher_module_path="blocks.1")
    with pytest.raises(ValueError, match="dimensions: declare its layout") as caught:
        loss(io(blocks_1=student), io(blocks_1=teacher))
    assert wanted in str(caught.value)


class LabelledLoss(nn.Module):
    def forward(self, student, teacher, targets):
        return (student - teacher)[torch.arange(len(targets)), targets].sum()


def io(**outputs):
    return {path.replace("_", "."): {"output": value} for path, value in outputs.items()}


def test_logits_default_to_the_models_outputs():
    loss = mid_level_loss(PairLoss)(scale=2.0)
    student, teacher = {".": {"output": torch.ones(2, 3)}}, {".": {"output": torch.zeros(2, 3)}}
    assert loss(student, teacher, None).item() == 2.0  # 2 * mean(1^2)


def test_paths_and_io_choose_the_tensor():
    loss = mid_level_loss(PairLoss)(student_module_path="fc", student_module_io="input", teacher_module_path="head.fc")
    student = {".": {"output": torch.zeros(1)}, "fc": {"input": torch.full((2,), 3.0)}}
    assert loss(student, io(head_fc=torch.ones(2))).item() == 4.0  # (3 - 1)^2


def test_lists_of_pairs():
    loss = mid_level_loss(ListLoss, wants="feature_lists")(
        student_module_path=["a", "b"], teacher_module_path=["c", "d"]
    )
    student, teacher = (
        io(a=torch.tensor([1.0]), b=torch.tensor([2.0])),
        io(c=torch.tensor([4.0]), d=torch.tensor([6.0])),
    )
    assert loss(student, teacher).item() == 7.0  # |1 - 4| + |2 - 6|


def test_targets_reach_the_loss_that_wants_them():
    loss = mid_level_loss(LabelledLoss, uses_targets=True)()
    student = {".": {"output": torch.tensor([[1.0, 5.0], [7.0, 2.0]])}}
    teacher = {".": {"output": torch.zeros(2, 2)}}
    assert loss(student, teacher, torch.tensor([1, 0])).item() == 12.0  # 5 + 7


class ScaledLoss(nn.Module):
    def forward(self, student, teacher, scale):
        return scale * (student - teacher).sum()


def test_outputs_of_student_modules_come_last():
    loss = mid_level_loss(ScaledLoss, student_tensors=["temperature"])()
    student = io(temperature=torch.tensor(3.0)) | {".": {"output": torch.ones(2)}}
    assert loss(student, {".": {"output": torch.zeros(2)}}).item() == 6.0  # 3 * (1 + 1)
    with pytest.raises(ValueError, match=r"Hook it in the config: train.student.forward_hook.output: \[temperature\]"):
        loss({".": {"output": torch.ones(2)}}, {".": {"output": torch.zeros(2)}})


@pytest.mark.parametrize(
    ("wants", "kwargs", "message"),
    [
        ("logits", {"scal": 2.0}, r"PairLoss takes no keyword 'scal'; did you mean 'scale'"),
        (
            "logits",
            {"student_module_io": "out"},
            r"student_module_io must be one of 'input', 'output', found 'out'",
        ),
        (
            "logits",
            {"student_module_path": ["a"]},
            r"student_module_path of PairLoss must be one module path",
        ),
        ("features", {}, r"compares features: give student_module_path"),
        (
            "feature_lists",
            {"student_module_path": "a", "teacher_module_path": ["a"]},
            r"must be a list of module paths",
        ),
        (
            "feature_lists",
            {"student_module_path": ["a"], "teacher_module_path": ["a", "b"]},
            r"equal length, found 1 and 2",
        ),
        (
            "features",
            {"student_module_path": ["a", "b"], "teacher_module_path": ["a"]},
            r"equal length, found 2 and 1 paths",
        ),
        (
            "features",
            {"student_module_path": ["a", "b"], "teacher_module_path": "a"},
            r"must both be one path or both be lists, found \['a', 'b'\] and 'a'",
        ),
        (
            "features",
            {"student_module_path": [], "teacher_module_path": []},
            r"student_module_path of PairLoss must be one module path or a list of module paths, found \[\]",
        ),
        (
            "feature_lists",
            {"student_module_path": ["a", 2], "teacher_module_path": ["a", "b"]},
            r"must be a list of module paths, found \['a', 2\]",
        ),
    ],
)
def test_mistakes_in_keywords(wants, kwargs, message):
    with pytest.raises(ValueError, match=message):
        mid_level_loss(PairLoss, wants=wants)(**kwargs)


def test_unknown_want():
    with pytest.raises(ValueError, match=r"wants must be one of 'logits', 'features', .* found 'pair'"):
        mid_level_loss(PairLoss, wants="pair")


def test_a_path_that_was_not_hooked_names_the_config_line():
    loss = mid_level_loss(PairLoss, wants="features")(student_module_path="layer2", teacher_module_path="blocks.1")
    student = {".": {"output": torch.ones(1)}, "layer3": {"output": torch.ones(1)}}
    message = (
        r"the student's 'layer2' output was not captured \(did you mean 'layer3'\?\); captured: '.' output, "
        r"'layer3' output. Hook it in the config: train.student.forward_hook.output: \[layer2\]"
    )
    with pytest.raises(ValueError, match=message):
        loss(student, io(blocks_1=torch.ones(1)))


def test_a_run_without_a_teacher_says_so():
    with pytest.raises(ValueError, match=r"this run has no teacher; add models.teacher_model and train.teacher"):
        mid_level_loss(PairLoss)()({".": {"output": torch.ones(1)}}, {})


def test_a_tuple_output_says_which_path_to_give():
    loss = mid_level_loss(PairLoss)()
    with pytest.raises(
        ValueError, match=r"the student's '.' output must be a tensor, found tuple; .*student_module_path"
    ):
        loss({".": {"output": (torch.ones(1), torch.ones(1))}}, {".": {"output": torch.ones(1)}})


def test_copies_and_shows_itself():
    loss = mid_level_loss(PairLoss)(scale=3.0)
    again = copy.deepcopy(loss)
    pair = ({".": {"output": torch.ones(2)}}, {".": {"output": torch.zeros(2)}})
    assert again(*pair) == loss(*pair)
    assert "student='.' output, teacher='.' output" in repr(loss)
