"""letKD's statistics under torchdistill's own loop, where `statistics: auto` is fitted before the first epoch."""

import json
import logging
import os
import random
from pathlib import Path

import fit_in_boxes
import letkd_boxes
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from several_processes import together
from torch.nn.parallel import DataParallel
from torch.utils.data import TensorDataset
from torchdistill.common.constant import def_logger

from kd_plugins.fitting.fit import fit
from kd_plugins.host.letkd.statistics import FOLDER, STATISTICS_ARE_THERE
from kd_plugins.models.fingerprint import fingerprint
from kd_plugins.models.teacher_input import prepare_its_input
from kd_plugins.statistics import StatisticsError, job, load_statistics, save_statistics
from kd_plugins.statistics.artefact import read_tensors


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def logged(caplog):
    """Show what torchdistill's logger is told."""
    level = def_logger.level
    def_logger.setLevel(logging.INFO)
    yield caplog
    def_logger.setLevel(level)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return the path of a file that a box has fitted, of both kinds."""
    folder, before = tmp_path_factory.mktemp("fitted"), Path.cwd()
    os.chdir(folder)
    try:
        made = letkd_boxes.box(letkd_boxes.teacher())
        made.pre_epoch_process(epoch=0)
    finally:
        os.chdir(before)
    return folder / letkd_boxes.sources(made)["penultimate"]


def forbidden(*args, **kwargs):
    raise AssertionError("fitted")


def reuse(fitted):
    """Put a file where a box looks for it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / fitted.name
    path.write_bytes(fitted.read_bytes())
    return path


def test_a_step_after_the_fit(monkeypatch, logged):
    made = letkd_boxes.box(letkd_boxes.teacher())
    made.pre_epoch_process(epoch=0)
    (path,) = set(letkd_boxes.sources(made).values())
    assert path.startswith("runs/statistics/ResNet_")
    lines = [record.getMessage() for record in logged.records if str(record.msg).startswith("letKD")]
    assert lines == [
        f"letKD's statistics are fitted into {path}; to fit them beforehand run `kd-plugins fit CONFIG --out FILE` and "
        "set statistics: FILE"
    ]
    found = load_statistics(path)
    assert found.penultimate.centres.shape == (8, 64)
    assert found.intermediate.score_table.shape == (20, 20)
    assert 0 < letkd_boxes.step(made) < float("inf")
    assert os.listdir(FOLDER) == [Path(path).name]
    monkeypatch.setattr(job, "fit_statistics", forbidden)
    made.pre_epoch_process(epoch=1)


def test_the_same_as_the_command_makes(tmp_path, fitted):
    fit(letkd_boxes.write_config(tmp_path, letkd_boxes.teacher()), out=tmp_path / "s.safetensors", device="cpu")
    own, other = load_file(fitted), load_file(tmp_path / "s.safetensors")
    assert set(own) == set(other)
    assert all(torch.equal(own[name], other[name]) for name in own)
    differ = {
        name for name, value in read_tensors(fitted)[1].items() if read_tensors("s.safetensors")[1][name] != value
    }
    assert differ == {"teacher"}  # a box does not know the name in the registry


def test_the_file_is_found_again(fitted, monkeypatch, logged):
    path = reuse(fitted)
    monkeypatch.setattr(job, "fit_statistics", forbidden)
    made = letkd_boxes.box(letkd_boxes.teacher())
    made.pre_epoch_process(epoch=0)
    assert set(letkd_boxes.sources(made).values()) == {str(path)}
    assert f"letKD's statistics are read from {path}" in logged.text


def test_a_damaged_file_is_fitted_anew(fitted, logged):
    path = reuse(fitted)
    path.write_bytes(fitted.read_bytes()[:100])
    made = letkd_boxes.box(letkd_boxes.teacher())
    made.pre_epoch_process(epoch=0)
    assert f"{path} is fitted again: " in logged.text
    assert path.read_bytes() == fitted.read_bytes()


WRAPPER = {
    "auxiliary_model_wrapper": {
        "key": "FrozenTeacher", "kwargs": {"student_mean": [0, 0, 0], "student_std": [1, 1, 1], "mean": [0.5] * 3,
                                           "std": [0.5] * 3},
    }
}  # fmt: skip
BLURRED = {"auxiliary_model_wrapper": {"key": "FrozenTeacher", "kwargs": {"input_size": 40}}}
BILINEAR = {
    "auxiliary_model_wrapper": {"key": "FrozenTeacher", "kwargs": {"input_size": 40, "interpolation": "bilinear"}}
}


def resizing(interpolation):
    model = letkd_boxes.teacher()
    prepare_its_input(model, input_size=40, interpolation=interpolation)
    return model


def test_anything_else_has_another_file(monkeypatch):
    # What is fitted is not what this is about.
    monkeypatch.setattr(job, "fit_statistics", lambda path, *_args, **_kwargs: found.append(path.name))
    found = []

    def file_of(model, **kwargs):
        made = letkd_boxes.box(model, **kwargs)
        with pytest.raises(StatisticsError, match="does not exist"):
            made.pre_epoch_process(epoch=0)
        return found[-1]

    first = letkd_boxes.teacher()
    ways = [
        file_of(first),
        file_of(letkd_boxes.teacher(seed=1)),
        file_of(first, data=letkd_boxes.datasets(images=47)),
        file_of(first, terms={"one": letkd_boxes.PENULTIMATE}),
        file_of(first, terms={"one": {**letkd_boxes.PENULTIMATE, "num_centres": 9}}),
        file_of(first, terms={"one": {**letkd_boxes.PENULTIMATE, "teacher_module_path": "layer3.0"}}),
        file_of(first, terms={"one": {**letkd_boxes.PENULTIMATE, "map_size": 4}}),
        file_of(first, terms={"one": {**letkd_boxes.PENULTIMATE, "fit_dataset_id": "digits/train"}}),
        *(file_of(first, side=side) for side in (WRAPPER, BLURRED, BILINEAR)),
        *(file_of(resizing(kind)) for kind in ("bicubic", "bilinear")),
    ]
    assert len(set(ways)) == len(found) == len(ways)
    again = letkd_boxes.teacher()
    shown = {"points": ["last_map"], **WRAPPER["auxiliary_model_wrapper"]["kwargs"]}
    assert file_of(again) == ways[0]
    assert file_of(again, side={"auxiliary_model_wrapper": {"key": "FrozenTeacher", "kwargs": shown}}) == ways[8]


def test_terms_that_one_file_cannot_hold_get_two():
    terms = {"one": letkd_boxes.PENULTIMATE, "two": {**letkd_boxes.PENULTIMATE, "teacher_module_path": "layer2"}}
    made = letkd_boxes.box(letkd_boxes.teacher(), terms={**terms, "three": letkd_boxes.INTERMEDIATE})
    made.pre_epoch_process(epoch=0)
    files = letkd_boxes.sources(made)
    assert files["one"] == files["three"] != files["two"]
    assert load_statistics(files["two"]).penultimate.centres.shape == (8, 32)


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_nothing_else_is_touched(monkeypatch):
    fit_statistics = job.fit_statistics

    def drawing(*args, **kwargs):
        random.random(), np.random.rand(), torch.rand(1)
        fit_statistics(*args, **kwargs)

    monkeypatch.setattr(job, "fit_statistics", drawing)
    model = letkd_boxes.teacher()
    weights = fingerprint(model)
    made = letkd_boxes.box(model)
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    before = states()
    made.pre_epoch_process(epoch=0)
    assert states() == before
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == flags
    assert fingerprint(model) == weights
    assert not any(module.training for module in model.modules())
    assert made.student_model.training
    assert made.teacher_io_dict == {"layer2": {}, "layer3": {}}  # the hooks of the box captured all of it
    assert all(len(model.get_submodule(path)._forward_hooks) == 1 for path in ("layer2", "layer3"))
    assert made.dataset_dict["digits/train"].dataset.transform is letkd_boxes.AUGMENTED


def test_a_wrapped_teacher(fitted):
    path = reuse(fitted)
    made = letkd_boxes.box(letkd_boxes.teacher())
    made.teacher_model = DataParallel(made.teacher_model)
    made.pre_epoch_process(epoch=0)
    assert set(letkd_boxes.sources(made).values()) == {str(path)}


def test_a_file_of_another_teacher_is_refused(fitted):
    made = letkd_boxes.box(letkd_boxes.teacher(), statistics=str(fitted))
    made.pre_epoch_process(epoch=0)
    assert letkd_boxes.step(made) > 0
    other = letkd_boxes.box(letkd_boxes.teacher(seed=1), statistics=str(fitted))
    with pytest.raises(
        StatisticsError,
        match=r"do not belong to this config: teacher weights: expected \w{64}, found \w{64}; fit them again",
    ):
        other.pre_epoch_process(epoch=0)
    assert not FOLDER.exists()
    setattr(other, STATISTICS_ARE_THERE, True)  # whoever built the box has seen to them
    other.pre_epoch_process(epoch=0)


def test_a_file_that_says_nothing_of_its_teacher_is_taken(fitted):
    tensors, _ = read_tensors(fitted)
    save_statistics("plain.safetensors", tensors, {})
    letkd_boxes.box(letkd_boxes.teacher(), statistics="plain.safetensors").pre_epoch_process(epoch=0)


def unknown_data():
    data = letkd_boxes.datasets()
    return {**data, "digits/train": TensorDataset(torch.zeros(4, 3, 32, 32), torch.arange(4))}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_centres": 4000}, "at most the number of positions, 3072"),
        ({"num_centres": 8.5}, r"num_centres of LetKDLoss must be a whole number, found 8\.5"),
        ({"teacher_module_path": "layre3"}, "the criterion's term one: the teacher has no module 'layre3'; .*'layer3'"),
        ({"teacher_module_path": "fc"}, r"term one: teacher_module_path must lead to a feature map \(B, c, H, W\)"),
        ({"fit_dataset_id": "digits/val2"}, "unknown fit_dataset_id 'digits/val2' at the criterion's term one; "),
        (
            {"data": unknown_data},
            "augmentation of digits/train cannot be removed, .*add fit_dataset_id, .* to the kwargs at",
        ),
        ({"val_data_loader": {}}, "no val_data_loader whose transform could replace the augmentation; add fit"),
    ],
)
def test_what_cannot_be_fitted(kwargs, message):
    own = {**letkd_boxes.PENULTIMATE, **{k: v for k, v in kwargs.items() if k not in ("data", "val_data_loader")}}
    rest = {"data": kwargs["data"]()} if "data" in kwargs else {}
    rest |= {"val_data_loader": {}} if "val_data_loader" in kwargs else {}
    with pytest.raises(StatisticsError, match=message):
        letkd_boxes.box(letkd_boxes.teacher(), terms={"one": own}, **rest).pre_epoch_process(epoch=0)
    assert not FOLDER.exists()


def test_without_the_process_the_loss_says_what_to_do():
    made = letkd_boxes.box(letkd_boxes.teacher(), pre_epoch_process="default_pre_epoch_process_with_teacher")
    made.pre_epoch_process(epoch=0)
    with pytest.raises(ValueError, match="pre_epoch_process: kd_pre_epoch under train in torchdistill's own scripts"):
        letkd_boxes.step(made)


def test_an_interrupted_fit_goes_on(monkeypatch):
    from kd_plugins.statistics import fitting

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "score_table", interrupted)
        made = letkd_boxes.box(letkd_boxes.teacher())
        with pytest.raises(KeyboardInterrupt):
            made.pre_epoch_process(epoch=0)
    assert made.teacher_io_dict == {"layer2": {}, "layer3": {}}
    assert [path.name.endswith(".safetensors.partial") for path in FOLDER.iterdir()] == [True]
    monkeypatch.setattr(fitting, "fit_centres", interrupted)  # finished already
    letkd_boxes.box(letkd_boxes.teacher()).pre_epoch_process(epoch=0)
    assert [path.suffix for path in FOLDER.iterdir()] == [".safetensors"]


def test_rank_0_fits_and_the_others_wait_longer_than_the_time_out(tmp_path):
    done = together(fit_in_boxes.main, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [rank["fits"] for rank in ranks] == [[ranks[0]["sources"]["penultimate"]], []]
    assert ranks[0]["sources"] == ranks[1]["sources"]
    assert ranks[0]["sum"] == ranks[1]["sum"] != 0
    assert all(rank["loss"] > 0 for rank in ranks)
    assert "at most the number of positions, 3072" in ranks[0]["error"]
    assert ranks[1]["error"] == f"{ranks[0]['error']} (in process 0)"
