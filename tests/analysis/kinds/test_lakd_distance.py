"""The distance of the layers that LAKD aligns, with the regressors of the run folder."""

import dataclasses

import pytest
import small_configs
import studies
import torch

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.analyze import analyze
from kd_plugins.analysis.kinds.attention import Attention
from kd_plugins.host.lakd.student import LAKDStudent
from kd_plugins.losses.lakd import local_feature_loss
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.runtime.checkpoint import save_state, tensors_beside
from kd_plugins.training.train import train

WIDER = {"cuts": "shifted", "teacher_channels": [64, 128, 256]}
SIDES = (
    "  teacher: {forward_proc: forward_batch_only, requires_grad: False}\n"
    "  student:\n"
    "    forward_proc: forward_batch_only\n"
    "    auxiliary_model_wrapper: {key: LAKDStudent, kwargs: {cuts: plain, teacher_channels: [64, 128, 256]}}\n"
    "    forward_hook: {output: [local_losses, class_maps.student, class_maps.teacher]}\n"
)


def lakd_study(teacher, student, kwargs, checkpoint=None, key="LAKDStudent", **others):
    study = studies.study(teacher, student=student, **others)
    study.built = {"train": {"student": {"auxiliary_model_wrapper": {"key": key, "kwargs": kwargs}}}}
    study.students = tuple(dataclasses.replace(one, checkpoint=checkpoint) for one in study.students)
    return study


def saved(folder, student, kwargs):
    """Write the last.pt of a run, and return its wrapper."""
    wrapper = LAKDStudent(student, **kwargs)
    save_state(folder, {"model": student.state_dict(), "adapters": tensors_beside(wrapper, student)})
    return wrapper


def test_the_distance_is_the_loss_without_attention(tmp_path):
    data, student, teacher = studies.images(20), studies.network(), studies.network("cifar_resnet8x4")
    wrapper = saved(tmp_path, student, WIDER)
    study = lakd_study(teacher, student, WIDER, tmp_path / "last.pt", data=data)
    analysis = Attention(distance=True)
    before = torch.get_rng_state()
    analysis.reads(study, study.students[0])
    assert torch.equal(torch.get_rng_state(), before)
    pairs = studies.drawn(analysis, study)["layer_distance"]["student"]
    assert [pair["teacher"] for pair in pairs] == ["stage1", "stage2", "stage3"]
    for number, pair in enumerate(pairs):
        own, other = (studies.feature(model, path, data.tensors[0]) for model, path in (
            (student, wrapper.ends[number].path), (teacher, f"layer{number + 1}")
        ))  # fmt: skip
        expected = local_feature_loss(wrapper.regressors[number](own), other)
        assert pair["distance"] == pytest.approx(expected.item(), rel=1e-4)


def test_without_regressors_no_run_folder_is_needed():
    model = studies.network()
    found = studies.drawn(Attention(distance=True), lakd_study(model, model, {"cuts": "plain"}))
    assert [pair["distance"] for pair in found["layer_distance"]["student"]] == [0, 0, 0]


def test_the_regressors_of_the_run_are_needed(tmp_path):
    student, teacher, analysis = studies.network(), studies.network("cifar_resnet8x4"), Attention(distance=True)
    with pytest.raises(ConfigError, match=r"there is no last\.pt beside .*best\.pt\. Give --checkpoint student=RUN_F"):
        studies.result(analysis, lakd_study(teacher, student, WIDER, tmp_path / "best.pt"))
    saved(tmp_path, studies.network(), WIDER)
    with pytest.raises(ConfigError, match=r"holds other weights than last\.pt"):
        studies.result(analysis, lakd_study(teacher, student, WIDER, tmp_path / "best.pt"))
    saved(tmp_path, student, {"cuts": "plain"})
    with pytest.raises(ConfigError, match=r"last\.pt is of another config"):
        studies.result(analysis, lakd_study(teacher, student, WIDER, tmp_path / "last.pt"))


def test_other_configs_and_options_are_refused():
    model = studies.network()
    with pytest.raises(ConfigError, match=r"no auxiliary_model_wrapper LAKDStudent \(found None\)"):
        studies.result(Attention(distance=True), lakd_study(model, model, {}, key=None))
    with pytest.raises(ConfigError, match="--distance needs a teacher in the config, and --checkpoint"):
        studies.result(Attention(distance=True), lakd_study(None, model, {}))
    with pytest.raises(ConfigError, match="found --ndam; leave one out"):
        Attention(distance=True, ndam=True)


def test_a_run_folder(tmp_path):
    config = small_configs.write(
        tmp_path, SIDES=SIDES, EPOCHS=1, SAMPLES=16,
        KD_TERM="        lakd: {criterion: {key: LAKDLoss, kwargs: {alpha: 0.5, beta: 2.0}}, weight: 0.5}\n",
        TEACHER_MODEL="  teacher_model: {key: cifar_resnet8x4, kwargs: {num_classes: 10}}\n",
        STUDENT_MODEL="  student_model: {key: cifar_resnet8, kwargs: {num_classes: 10}}",
    )  # fmt: skip
    train(config, run_dir=tmp_path / "run", device="cpu")
    torch.manual_seed(0)
    teacher = tmp_path / "teacher.pt"
    torch.save(CIFAR_MODELS["cifar_resnet8x4"](num_classes=10).state_dict(), teacher)
    (done,) = analyze(
        config, ["attention"], checkpoints=[f"best={tmp_path / 'run'}", f"last={tmp_path / 'run' / 'last.pt'}"],
        out=tmp_path / "out", device="cpu", options={"distance": True},
        overrides=[f"models.teacher_model.src_ckpt={teacher}"],
    )  # fmt: skip
    found = done.result["layer_distance"]
    assert found["best"] == found["last"]
    assert all(pair["distance"] > 0 for pair in found["last"])
    assert (tmp_path / "out" / "attention.png").is_file()
