import copy
import pickle

import pytest
import torch
from torchdistill.common.main_util import load_ckpt
from torchdistill.common.module_util import unfreeze_module_params
from torchdistill.core.forward_hook import ForwardHookManager

from kd_plugins.host.teachers.ensemble import teacher_ensemble
from kd_plugins.host.teachers.model import frozen_teacher
from kd_plugins.host.teachers.wrapper import FrozenTeacher
from kd_plugins.models import feature_points, is_frozen, timm_model

LOADER = {"student_mean": [0.5071, 0.4867, 0.4408], "student_std": [0.2675, 0.2565, 0.2761]}
SHAPE = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
VIT = {"key": "timm_model", "kwargs": {"model_name": "vit_tiny_patch16_224", **SHAPE}}
CNN = {"key": "cifar_resnet8", "kwargs": {"num_classes": 5}}


def built(model=VIT, **kwargs):
    torch.manual_seed(0)
    return frozen_teacher(model=model, **kwargs)


def plain():
    torch.manual_seed(0)
    return timm_model(**VIT["kwargs"]).eval()


def test_it_gives_the_logits_of_the_teachers_own_preprocessing():
    images = torch.rand(4, 3, 16, 16)
    mean, std = (torch.tensor(values)[:, None, None] for values in LOADER.values())
    own = torch.nn.functional.interpolate((images - 0.5) / 0.5, (32, 32), mode="bicubic", antialias=True)
    found = built(**LOADER, input_size=32)((images - mean) / std)
    torch.testing.assert_close(found, plain()(own), atol=1e-4, rtol=1e-4)
    assert torch.equal(found, FrozenTeacher(plain(), **LOADER, input_size=32)((images - mean) / std))


def test_where_both_sides_agree_the_batch_stays():
    images = torch.randn(2, 3, 32, 32)
    agreeing = built(student_mean=[0.5] * 3, student_std=[0.5] * 3, input_size=32)
    assert torch.equal(agreeing(images), plain()(images))
    assert agreeing.teacher_input(images) is images


def test_it_is_the_teacher_itself(tmp_path):
    teacher, bare = built(**LOADER, input_size=32), plain()
    assert type(teacher) is type(bare)
    assert teacher.state_dict().keys() == bare.state_dict().keys()
    assert feature_points(teacher) == feature_points(bare)
    other = timm_model(**VIT["kwargs"])
    torch.save({"model": other.state_dict()}, tmp_path / "teacher.pt")
    load_ckpt(tmp_path / "teacher.pt", model=teacher, strict=True)
    assert torch.equal(teacher.head.weight, other.head.weight)
    within = {**VIT, "src_ckpt": str(tmp_path / "teacher.pt")}
    assert torch.equal(built(within).head.weight, other.head.weight)


def test_it_stays_as_it_is():
    teacher = built(CNN)
    before = copy.deepcopy(teacher.state_dict())
    for _ in range(3):
        teacher.train()
        unfreeze_module_params(teacher)
        assert not teacher(5 * torch.randn(4, 3, 32, 32)).requires_grad
    assert is_frozen(teacher)
    assert not teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_copies_prepare_their_batches_themselves():
    teacher, images = built(**LOADER, input_size=32), torch.randn(2, 3, 16, 16)
    expected = teacher(images)
    copied, unpickled = copy.deepcopy(teacher), pickle.loads(pickle.dumps(teacher))
    teacher.teacher_input.scale.zero_()
    assert not torch.allclose(teacher(images), expected)
    assert torch.equal(copied(images), expected)
    assert torch.equal(unpickled(images), expected)
    assert copied.double()(images.double()).dtype == torch.float64


def test_a_wrapper_shows_its_points():
    teacher = FrozenTeacher(built(**LOADER, input_size=32), points=["last_map"])
    bare = FrozenTeacher(plain(), **LOADER, input_size=32, points=["last_map"])
    images, maps = torch.randn(2, 3, 16, 16), []
    for model in (teacher, bare):
        manager = ForwardHookManager(torch.device("cpu"))
        manager.add_hook(model, "points.last_map", requires_input=False)
        model(images)
        maps.append(manager.pop_io_dict()["points.last_map"]["output"])
    assert maps[0].shape == (2, 24, 4, 4)
    assert torch.equal(*maps)


def test_points_are_probed_at_the_size_that_it_resizes_to():
    # At the student's 64 pixels there are 16 x 16 positions in the last map, and behind the resize 8 x 8.
    teacher = FrozenTeacher(built(CNN, input_size=32), points=["last_map"], probe_size=64)
    seen = []
    teacher.points.get_submodule("last_map").register_forward_hook(lambda _m, _i, output: seen.append(output.shape))
    teacher(torch.randn(2, 3, 64, 64))
    assert seen == [(2, 64, 8, 8)]


def test_one_of_several_teachers():
    section = {"key": "frozen_teacher", "kwargs": {"model": CNN, "input_size": 32}}
    images = torch.randn(2, 3, 16, 16)
    torch.manual_seed(0)
    ensemble = teacher_ensemble(teachers=[section])
    torch.testing.assert_close(ensemble(images), built(CNN, input_size=32)(images).log_softmax(1))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"model": "cifar_resnet8"}, r"model of frozen_teacher must be a mapping such as \{key: .* 'cifar_resnet8'"),
        ({"model": {"kwargs": {}}}, r"model of frozen_teacher must be a mapping"),
        ({"model": {**CNN, "ckpt": "x"}}, r"model of frozen_teacher takes no keyword 'ckpt'"),
        ({"model": {**CNN, "key": "cifar_resnet9"}}, r"unknown model 'cifar_resnet9'"),
        ({"model": {**CNN, "src_ckpt": "none.pt"}}, r"none\.pt"),
        ({"model": CNN, **LOADER}, r"mean, std must be given to renormalise: the normalisation of the teacher \(Res"),
        ({"model": CNN, "input_size": 0}, r"input_size must be a whole number .* found 0"),
        (
            {"model": {"key": "frozen_teacher", "kwargs": {"model": CNN}}},
            r"already has a 'teacher_input': frozen_teacher cannot wrap it",
        ),
    ],
)
def test_mistakes(kwargs, message):
    with pytest.raises(ValueError, match=message):
        frozen_teacher(**kwargs)


@pytest.mark.parametrize("kwargs", [{"input_size": 32}, LOADER])
def test_nothing_is_done_twice(kwargs):
    with pytest.raises(ValueError, match="is a frozen_teacher, which normalises and resizes its own batches"):
        FrozenTeacher(built(**LOADER), **kwargs)
