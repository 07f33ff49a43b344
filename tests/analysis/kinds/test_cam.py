"""Class activation maps, Grad-CAM, and how similar two maps are."""

import pytest
import studies
import torch

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.drawing import unit_range
from kd_plugins.analysis.kinds.cam import Cam, grad_cam, similarity
from kd_plugins.host.teachers.wrapper import FrozenTeacher
from kd_plugins.models import timm_model


def vit(**kwargs):
    return timm_model(model_name="vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=2,
                      num_heads=2, num_classes=5, **kwargs)  # fmt: skip


def test_grad_cam_of_a_linear_classifier_is_cam_without_its_negative_part():
    model = studies.network().eval()
    one = studies.study(model).teacher
    images, classes = torch.rand(4, 3, 32, 32), torch.tensor([0, 3, 3, 1])
    found = grad_cam(one, one.point("last_map"), images, classes)
    with torch.no_grad():
        kept = []
        handle = model.layer3.register_forward_hook(lambda _m, _i, output: kept.append(output))
        model(images)
        handle.remove()
    cam = torch.einsum("bkhw,bk->bhw", kept[0], model.fc.weight[classes])
    torch.testing.assert_close(found, cam.relu() / cam[0].numel())
    assert not model.layer3._forward_hooks
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_student_that_is_its_teacher():
    model = studies.network()
    teacher = FrozenTeacher(model, student_mean=[0.5] * 3, student_std=[1.0] * 3, mean=[0.5] * 3, std=[1.0] * 3)
    for method in (None, "gradcam"):
        found = studies.drawn(Cam(method=method), studies.study(teacher, same=model))
        assert found["methods"] == dict.fromkeys(("teacher", "same"), method or "cam")
        assert found["similarity"]["same"]["correlation"] == pytest.approx(1)
        assert found["similarity"]["same"]["iou"] == pytest.approx(1)


def test_a_teacher_that_resizes_its_batches():
    model = studies.network()
    given = studies.study(FrozenTeacher(model, input_size=16), student=studies.network())
    found = studies.drawn(Cam(method="gradcam", target="predicted"), given)
    assert len(found["shown"]["maps"]["teacher"][0]) == 4
    assert len(found["shown"]["maps"]["student"][0]) == 8


def test_similarity_by_hand():
    half = torch.tensor([[[1.0, 0.0]]])
    assert similarity(half, 1 - half, (1, 2)) == pytest.approx({"correlation": -1, "iou": 0, "compared": 1})
    constant = torch.zeros(1, 1, 2)
    assert similarity(torch.cat([half, half]), torch.cat([half, constant]), (1, 2))["compared"] == 1
    assert torch.equal(unit_range(torch.full((1, 2, 2), 3.0)), torch.zeros(1, 2, 2))


def test_a_class_token():
    given = studies.study(vit(), student=studies.network())
    analysis = Cam()
    found = studies.drawn(analysis, given)
    # The last norm's other tokens do not reach the logits.
    assert found["methods"] == {"teacher": "gradcam", "student": "cam"}
    assert found["constant"] == {"teacher": 20, "student": 0}
    assert found["similarity"]["student"]["correlation"] is None
    assert any("--method gradcam --points takes an earlier map" in line for line in analysis.table(found))
    assert studies.drawn(Cam(points=["stage1"]), given)["constant"]["teacher"] < 20
    with pytest.raises(ConfigError, match=r"--method cam: teacher: .*use --method gradcam"):
        studies.result(Cam(method="cam"), given)
    with pytest.raises(ValueError, match="has no feature point 'stage9'; did you mean"):
        studies.result(Cam(points=["stage9"]), given)
    with pytest.raises(ValueError, match="cam takes one of --points"):
        Cam(method="cam", points=["stage1"])
