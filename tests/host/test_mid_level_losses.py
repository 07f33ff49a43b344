import copy

import pytest
import torch
from torch import nn

from kd_plugins.host.losses import mid_level_loss


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
            r"one length, found 1 and 2",
        ),
    ],
)
def test_mistakes_in_keywords(wants, kwargs, message):
    with pytest.raises(ValueError, match=message):
        mid_level_loss(PairLoss, wants=wants)(**kwargs)


def test_unknown_want():
    with pytest.raises(ValueError, match=r"wants must be one of 'logits', 'features', 'feature_lists', found 'pair'"):
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
