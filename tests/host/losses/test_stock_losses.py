"""torchdistill's feature losses, and what replaces them, inside a whole training, with and without the mask."""

import copy
import gc

import pytest
import stock_configs
import torch
from torch import nn
from torchdistill.losses.mid_level import CCKDLoss
from torchdistill.models.wrapper import Linear4CCKD

from kd_plugins.config.config import read_config
from kd_plugins.data import digits
from kd_plugins.host.boxes.processes import criterion_terms
from kd_plugins.host.losses.wrappers import SalientFeatureMask
from kd_plugins.host.students.projected import ProjectedStudent, ProjectedTeacher
from kd_plugins.host.students.review import ReviewStudent
from kd_plugins.host.students.vid import VIDStudent
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.runtime.distributed import Processes
from kd_plugins.training.run_folder import Options, RunFolder
from kd_plugins.training.train import train
from kd_plugins.training.trainer import Trainer
from kd_plugins.transforms import keep_salient

BASES = list(stock_configs.BASES)


def prepared(config, folder):
    asked = Options(seed=0, amp="no", world_size=1)
    return Trainer(read_config(config), RunFolder(folder), asked, Processes(0, 1, torch.device("cpu")))


def first_step(folder, base, *, keep=None):
    """Run the first step of a training up to the backward pass; return the box, the loss and its terms."""
    folder.mkdir(exist_ok=True)
    trainer = prepared(stock_configs.write(folder, base, keep=keep, BATCH=24), folder / "run")
    box = trainer.box
    box.pre_epoch_process(epoch=0)
    torch.manual_seed(1)
    batch, targets, *supplement = next(iter(box.train_data_loader))
    values = {}
    for name, term in criterion_terms(box.criterion).items():
        term.register_forward_hook(lambda _m, _i, value, name=name: values.update({name: value.detach().reshape(())}))
    loss = box.forward_process(batch, targets, supplement[0] if supplement else {})
    loss.backward()
    return box, loss, values


@pytest.mark.parametrize("base", BASES)
def test_a_step_reaches_the_student_and_every_adapter(tmp_path, base):
    box, loss, values = first_step(tmp_path, base, keep=0.3)
    assert loss.isfinite().all()
    optimized = {id(p) for group in box.optimizer.param_groups for p in group["params"]}
    for name, parameter in box.student_model.named_parameters():
        assert id(parameter) in optimized, name
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert all(value > 0 for value in values.values())
    assert all(p.grad is None and not p.requires_grad for p in box.teacher_model.parameters())


@pytest.mark.parametrize("base", BASES)
def test_keeping_all_is_the_base_bit_for_bit_and_less_is_not(tmp_path, base):
    plain, whole, masked = (
        first_step(tmp_path / name, base, keep=keep) for name, keep in (("a", None), ("b", 1.0), ("c", 0.3))
    )
    assert plain[2] == whole[2]
    gradients = [[p.grad for p in box.student_model.parameters()] for box, *_ in (plain, whole)]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert plain[2]["ce"] == masked[2]["ce"]
    changed = [name for name in plain[2] if plain[2][name] != masked[2][name]]
    assert changed == [name for name in plain[2] if name != "ce"]


@pytest.mark.parametrize("base", [base for base in BASES if "stock" not in base])
def test_trains_and_saves_the_student_alone(tmp_path, base, monkeypatch):
    if base != "crd":  # which needs a whole data set
        few = {train: [values[:90] for values in digits._enlarged(train)] for train in (True, False)}
        monkeypatch.setattr(digits, "_enlarged", few.__getitem__)
    summary = train(stock_configs.write(tmp_path, base, keep=0.5), run_dir=tmp_path / "run", device="cpu")
    assert summary["teacher_unchanged"] is True
    saved = torch.load(summary["student_checkpoint"], weights_only=True)["model"]
    CIFAR_MODELS["cifar_resnet8"](num_classes=10).load_state_dict(saved, strict=True)


@pytest.mark.parametrize("base", ["cc", "cckd", "crd"])
def test_the_mask_acts_before_the_projection(tmp_path, base):
    box, *_ = first_step(tmp_path, base, keep=0.3)
    raw, projected = [], []
    teacher, student = box.teacher_model, box.student_model
    teacher.points["pooled"].register_forward_hook(lambda _m, _i, output: raw.append(output))
    teacher.projections["pooled"].register_forward_hook(lambda _m, _i, output: projected.append(output))
    teacher(torch.rand(5, 3, 32, 32))
    weights = student.teacher_projections["pooled"]
    assert raw[0].shape == (5, 64, 1, 1)
    assert torch.equal(projected[0], weights(keep_salient(raw[0], keep=0.3)))
    assert not torch.allclose(projected[0], keep_salient(weights(raw[0]), keep=0.3))


def test_the_mask_acts_before_the_projection_of_torchdistills_own_wrapper():
    teacher = Linear4CCKD(
        {"path": "model.0", "io": "output"},
        {"in_features": 6, "out_features": 3},
        torch.device("cpu"),
        None,
        False,
        teacher_model=nn.Sequential(nn.Linear(4, 6)),
    )
    base = CCKDLoss("linear", "linear", {"type": "bilinear"}, "batchmean")
    loss = SalientFeatureMask(base, keep=2)
    raw, embedded = torch.randn(5, 6), torch.randn(5, 3)
    with pytest.raises(ValueError, match="teacher's projection 'linear', but is not connected to the teacher: set pre"):
        loss({"linear": {"output": embedded}}, {"linear": {"output": teacher.linear(raw)}})
    for _ in range(2):
        loss.listen_to(teacher)
    assert torch.equal(
        teacher.linear(raw), nn.functional.linear(keep_salient(raw, keep=2), *teacher.linear.parameters())
    )
    masked = {"linear": {"output": teacher.linear(raw)}}
    assert loss({"linear": {"output": embedded}}, masked) == base({"linear": {"output": embedded}}, masked)
    with pytest.raises(ValueError, match=r"two terms of the criterion transform the input of .* 'linear'"):
        SalientFeatureMask(base, keep=3).listen_to(teacher)
    del loss
    gc.collect()
    assert not teacher.linear._forward_pre_hooks


def test_regressors_and_projections_are_no_part_of_a_copy_or_checkpoint():
    model = CIFAR_MODELS["cifar_resnet8"](num_classes=10)
    student = ProjectedStudent(model, pairs=[{"student": "pooled", "channels": 64}], dim=4)
    teacher = ProjectedTeacher(CIFAR_MODELS["cifar_resnet8"](num_classes=10), points=["pooled"])
    student.listen_to(teacher)
    batch = torch.rand(2, 3, 32, 32)
    assert teacher(batch).shape == student(batch).shape
    other = copy.deepcopy(teacher)
    assert teacher.projections["pooled"].lender is student.teacher_projections["pooled"]
    assert other.projections["pooled"].lender is None
    assert other(batch).shape == (2, 10)
    with pytest.raises(ValueError, match="projections pooled have no weights; the student owns them: under"):
        other.secondary_forward({})
    assert student.state_dict().keys() == model.state_dict().keys()
    assert set(teacher.state_dict()) == set(teacher.teacher_model.state_dict())
    assert torch.equal(student.eval()(batch), model(batch))
    assert student(batch, {"pos_idx": torch.arange(2)}).shape == (2, 10)


def test_projections_say_what_is_missing():
    model = CIFAR_MODELS["cifar_resnet8"]
    student = ProjectedStudent(model(), pairs=[{"student": "pooled", "channels": 63}], dim=4)
    with pytest.raises(ValueError, match="teacher has no ProjectedTeacher wrapper: under train add"):
        student.listen_to(model())
    with pytest.raises(ValueError, match="must have the names of ProjectedStudent's pairs, found stage3 and pooled"):
        student.listen_to(ProjectedTeacher(model(), points=["stage3"]))
    with pytest.raises(ValueError, match="ProjectedTeacher needs points, the features to project: teacher"):
        ProjectedTeacher(model())(torch.rand(1, 3, 32, 32))
    student.listen_to(teacher := ProjectedTeacher(model(), points=["pooled"]))
    with pytest.raises(ValueError, match=r"takes 63 channels, found a map of shape \(1, 64, 1, 1\); give its channels"):
        teacher(torch.rand(1, 3, 32, 32))


def test_a_regressor_at_another_size_than_the_students():
    model = CIFAR_MODELS["cifar_resnet8"]()
    pairs = [{"student": "stage2", "channels": 6, "size": 8}, {"student": "stage3", "channels": 5, "size": 16}]
    # VID's larger map of the teacher is pooled by the loss; ReviewKD's is met by resizing the student's.
    for wrapper, larger in ((VIDStudent, 8), (ReviewStudent, 16)):
        student = wrapper(model, pairs=pairs)
        shapes = {}
        for name, module in student.regressors.items():
            module.register_forward_hook(
                lambda _m, _i, output, name=name, into=shapes: into.update({name: output[0].shape})
            )
        student(torch.rand(2, 3, 32, 32))
        assert shapes == {"stage2": (2, 6, 8, 8), "stage3": (2, 5, larger, larger)}


def test_wrappers_refuse():
    model, pair = CIFAR_MODELS["cifar_resnet8"](), {"student": "stage2", "channels": 6}
    with pytest.raises(ValueError, match=r"initial_variance must be above eps \(1.0\), found 0.5"):
        VIDStudent(model, pairs=[pair], initial_variance=0.5, eps=1.0)
    with pytest.raises(ValueError, match="mid_channels must be a finite number of at least 1, found 0"):
        ReviewStudent(model, pairs=[pair], mid_channels=0)
    with pytest.raises(ValueError, match="dim must be a finite number of at least 1, found 0"):
        ProjectedStudent(model, pairs=[pair], dim=0)
