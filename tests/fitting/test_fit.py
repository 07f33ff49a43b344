import json
from pathlib import Path

import pytest
import small_configs
import torch
import wait_for_main
from several_processes import together
from torch import nn
from torch.utils.data import ConcatDataset, Subset, TensorDataset
from torchdistill.losses.registry import MIDDLE_LEVEL_LOSS_DICT
from torchdistill.models.registry import MODEL_DICT
from torchvision.datasets import FakeData
from torchvision.transforms import RandomCrop, ToTensor

from kd_plugins._errors import ConfigError
from kd_plugins.cli import main
from kd_plugins.config.config import read_config
from kd_plugins.data.unaugmented import description_of
from kd_plugins.fitting import fit as fit_module
from kd_plugins.fitting.data import fit_dataset
from kd_plugins.fitting.fit import fit, prepare_statistics
from kd_plugins.fitting.terms import LetKDTerm, letkd_terms
from kd_plugins.host.letkd.loss import LetKDLoss
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.statistics import StatisticsError, job, load_statistics
from kd_plugins.statistics.fitting import Settings
from kd_plugins.training.train import train

TERM = "        {name}: {{criterion: {{key: LetKDLoss, kwargs: {kwargs}}}, weight: 1.0}}\n"
PENULTIMATE = "kind: penultimate, teacher_module_path: layer3, student_module_path: blocks.0, num_centres: 16"
INTERMEDIATE = (
    "kind: intermediate, teacher_module_path: layer2, student_module_path: blocks.0, subclasses: 2, map_size: 4"
)
SIDES = (
    "  teacher: {forward_proc: forward_batch_only, requires_grad: False, forward_hook: {output: [layer2, layer3]}}\n"
    "  student: {forward_proc: forward_batch_only}\n"
)


class StandIn(nn.Module):
    """Takes the keywords of a letKD loss and asks its student for nothing but finite logits."""

    files = []  # noqa: RUF012 - shared on purpose: what the built losses were given

    def __init__(
        self, kind, statistics, teacher_module_path, student_module_path, num_centres=1, subclasses=1, components=None,
        pca=None, map_size=None, fit_dataset_id=None, teacher_module_io="output",
    ):  # fmt: skip
        super().__init__()
        self.files.append(statistics)

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return student_io_dict["."]["output"].square().mean()


@pytest.fixture(autouse=True)
def _letkd(monkeypatch):
    monkeypatch.setitem(MIDDLE_LEVEL_LOSS_DICT, "LetKDLoss", StandIn)
    monkeypatch.setattr(StandIn, "files", [])


def write(folder, *kwargs, **parts):
    terms = "".join(TERM.format(name=f"letkd{i}", kwargs=f"{{{own}}}") for i, own in enumerate(kwargs, 1))
    folder.mkdir(exist_ok=True)
    return small_configs.write(folder, KD_TERM=terms, SIDES=SIDES, **parts)


def both(path):
    return f"{PENULTIMATE}, statistics: {path}", f"{INTERMEDIATE}, statistics: {path}"


def test_one_file_for_both_kinds(tmp_path):
    path = tmp_path / "s.safetensors"
    (line,) = fit(write(tmp_path, *both(path)), device="cpu")
    assert line == (
        f"statistics written to {path}: penultimate layer3, 3,072 positions of 64 channels; intermediate layer2, "
        "768 positions of 32 channels"
    )
    found = load_statistics(path)
    assert found.penultimate.centres.shape == (16, 64)
    assert found.intermediate.projection.shape == (9, 32)
    assert found.intermediate.score_table.shape == (20, 20)
    assert found.intermediate.subclass_counts.sum() == 48 * 16  # maps of 16 x 16, pooled to 4 x 4
    meta = found.metadata
    assert meta["teacher"] == "cifar_resnet8"
    assert len(meta["teacher_weights"]) == 64
    assert meta["dataset"] == "digits/train (Digits; ToTensor())"
    assert (meta["images"], meta["num_classes"], meta["seed"]) == ("48", "10", "0")
    assert (meta["penultimate.layer"], meta["intermediate.layer"]) == ("layer3", "layer2")
    assert (meta["penultimate.map_size"], meta["intermediate.map_size"]) == ("8x8", "4x4")
    assert torch.__version__.startswith(meta["versions.torch"])
    assert "versions.scikit-learn" in meta


def test_a_file_that_fits_is_kept_and_force_replaces_it(tmp_path):
    path = tmp_path / "s.safetensors"
    config = write(tmp_path, both(path)[0])
    fit(config, device="cpu")
    before = path.stat().st_mtime_ns
    (line,) = fit(config, device="cpu")
    assert line == f"{path} already exists and matches; --force computes it again"
    assert path.stat().st_mtime_ns == before
    first = load_statistics(path).penultimate.centres
    fit(config, device="cpu", force=True)
    assert path.stat().st_mtime_ns > before
    assert torch.equal(load_statistics(path).penultimate.centres, first)


def test_a_teacher_that_prepares_its_batches_itself(tmp_path):
    """The file says what one behind a wrapper that does the same says, and not what another one says."""
    weights, path = tmp_path / "teacher.pt", tmp_path / "s.safetensors"
    torch.save(CIFAR_MODELS["cifar_resnet8"](num_classes=10).state_dict(), weights)
    model = f"key: cifar_resnet8, kwargs: {{num_classes: 10}}, src_ckpt: {weights}"
    own = f"  teacher_model: {{key: frozen_teacher, kwargs: {{model: {{{model}}}, input_size: 40}}}}\n"
    around = SIDES.replace("False,", "False, auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {input_size: 40}},")
    config = write(tmp_path, both(path)[0], TEACHER_MODEL=own)
    fit(config, device="cpu")
    found = load_statistics(path).metadata
    assert (found["teacher"], found["teacher_input"]) == ("cifar_resnet8", '{"input_size": 40}')
    assert found["penultimate.map_size"] == "10x10"
    wrapped = small_configs.text(
        KD_TERM=TERM.format(name="letkd1", kwargs=f"{{{both(path)[0]}}}"), SIDES=around,
        TEACHER_MODEL=f"  teacher_model: {{{model}}}\n",
    )  # fmt: skip
    config.with_name("wrapped.yaml").write_text(wrapped)
    (line,) = fit(config.with_name("wrapped.yaml"), device="cpu")
    assert line.endswith("already exists and matches; --force computes it again")
    with pytest.raises(StatisticsError, match=r"teacher input: .*interpolation.*, found \{\"input_size\": 40\}"):
        fit(config, device="cpu", overrides=["models.teacher_model.kwargs.interpolation=bilinear"])


class Detailed(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.net = CIFAR_MODELS["cifar_resnet8"](num_classes=num_classes)

    def forward(self, x):
        return {"logits": self.net(x)}


def test_a_teacher_that_returns_several_outputs(tmp_path, monkeypatch):
    monkeypatch.setitem(MODEL_DICT, "detailed", Detailed)
    model, own = "{key: detailed, kwargs: {num_classes: 10}}", PENULTIMATE.replace("layer3", "net.layer3")
    config = write(
        tmp_path, f"{own}, statistics: {tmp_path}/s.safetensors", TEACHER_MODEL=f"  teacher_model: {model}\n"
    )
    sides = ["train.teacher.forward_hook.output=[net.layer3]"]
    with pytest.raises(ValueError, match=r"must return logits .*keyword logits .* of FrozenTeacher or frozen_teacher"):
        fit(config, device="cpu", overrides=sides)
    text = config.read_text()
    wrapper = "auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {logits: logits}}"
    config.write_text(text.replace("requires_grad: False,", f"requires_grad: False, {wrapper},"))
    (line,) = fit(config, device="cpu", overrides=sides)
    assert "penultimate net.layer3, 3,072 positions of 64 channels" in line
    assert load_statistics(tmp_path / "s.safetensors").metadata["teacher_input"] == "the batch as it is"


OTHERS = [
    ("train.criterion.kwargs.sub_terms.letkd1.criterion.kwargs.teacher_module_path=layer2", "penultimate.layer: "),
    ("train.criterion.kwargs.sub_terms.letkd1.criterion.kwargs.num_centres=17", "penultimate.num centres: expected 17"),
    ("train.criterion.kwargs.sub_terms.letkd2.criterion.kwargs.subclasses=3", "intermediate.subclasses: expected 3"),
    ("train.criterion.kwargs.sub_terms.letkd2.criterion.kwargs.map_size=[2,8]", "intermediate.map size: expected 2x8"),
    ("train.criterion.kwargs.sub_terms.letkd2.criterion.kwargs.components=4", "components: expected 4, found default"),
    ("models.teacher_model.kwargs.num_classes=11", "num classes: expected 11, found 10"),
    ("models.teacher_model.key=cifar_resnet14", "teacher: expected cifar_resnet14, found cifar_resnet8; teacher weig"),
    ("train.train_data_loader.dataset_id=digits/test", "images: expected 45, found 48"),
]


@pytest.mark.parametrize(("change", "message"), OTHERS, ids=[change.rpartition(".")[2] for change, _ in OTHERS])
def test_training_and_fit_refuse_statistics_of_something_else(tmp_path, change, message):
    path = tmp_path / "s.safetensors"
    config = write(tmp_path, *both(path))
    fit(config, device="cpu")
    before = path.read_bytes()
    for run in (
        lambda: train(config, run_dir=tmp_path / "run", device="cpu", overrides=[change]),
        lambda: fit(config, device="cpu", overrides=[change]),
    ):
        with pytest.raises(StatisticsError) as refused:
            run()
        assert message in str(refused.value)
        assert "`kd-plugins fit CONFIG --force`" in str(refused.value)
    assert path.read_bytes() == before
    assert not (tmp_path / "run").exists()


def test_another_teacher_of_the_same_kind_is_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    config = write(tmp_path, both(path)[0])
    fit(config, device="cpu", seed=0)
    with pytest.raises(
        StatisticsError, match=r"do not belong to this config: teacher weights: expected \w{64}, found \w{64};"
    ):
        train(config, run_dir=tmp_path / "run", device="cpu", seed=1)  # another random teacher


def test_training_needs_the_file(tmp_path):
    config = write(tmp_path, f"{PENULTIMATE}, statistics: {tmp_path}/none.safetensors")
    with pytest.raises(StatisticsError, match=r"none\.safetensors does not exist; fit it with `kd-plugins fit CONFIG`"):
        train(config, run_dir=tmp_path / "run", device="cpu")


def test_auto_fits_before_the_training_and_once(tmp_path, monkeypatch):
    config = write(tmp_path, *both("auto"), EPOCHS=1)
    run = tmp_path / "run"
    summary = train(config, run_dir=run, device="cpu")
    path = run / "letkd_statistics.safetensors"
    assert load_statistics(path).intermediate is not None
    assert StandIn.files[-1] == str(path)
    assert "statistics: auto" in (run / "config.yaml").read_text()

    # A run that finds the file takes the same steps as the one that fitted it.
    other = tmp_path / "other"
    other.mkdir()
    (other / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(job, "fit_statistics", None)
    again = train(config, run_dir=other, device="cpu")
    assert again["test_last"] == summary["test_last"]
    first, second = (torch.load(d / "last.pt", weights_only=True)["model"] for d in (run, other))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_auto_goes_on_after_an_interruption_and_replaces_what_does_not_fit(tmp_path, monkeypatch, caplog):
    config = write(tmp_path, *both("auto"), EPOCHS=1)
    run = tmp_path / "run"

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    from kd_plugins.statistics import fitting

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "score_table", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config, run_dir=run, device="cpu")
    assert [p.name for p in run.iterdir()] == ["letkd_statistics.safetensors.partial"]
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "fit_centres", interrupted)  # finished already
        train(config, run_dir=run, device="cpu")
    assert "run.json" in [p.name for p in run.iterdir()]

    other = tmp_path / "other"
    other.mkdir()
    (other / "letkd_statistics.safetensors").write_bytes(b"broken")
    with caplog.at_level("WARNING"):
        train(config, run_dir=other, device="cpu")
    assert "is fitted again: " in caplog.text
    load_statistics(other / "letkd_statistics.safetensors")


def test_a_config_without_letkd_is_left_alone(tmp_path):
    config = small_configs.write(tmp_path)
    with pytest.raises(ConfigError, match="nothing to fit: the criterion has no LetKDLoss"):
        fit(config, device="cpu")
    built = read_config(config).construct()
    prepare_statistics(read_config(config), built, None, None, folder=tmp_path, seed=0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ("kind: last, statistics: auto, teacher_module_path: l", "kind must be one of 'penultimate', 'intermediate'"),
        ("kind: penultimate, teacher_module_path: l", "LetKDLoss needs statistics, such as auto; found None"),
        ("kind: penultimate, statistics: auto", "LetKDLoss needs teacher_module_path, such as layer3"),
        (f"{PENULTIMATE}, statistics: auto, map_size: [1]", "map_size must be the height and width"),
        (f"{PENULTIMATE}, statistics: auto, pca: 0", "pca must be a whole number of at least 1, found 0"),
        (f"{PENULTIMATE}, statistics: auto, subclasses: 2.5", "subclasses must be a whole number of at least 1, found"),
        (f"{PENULTIMATE}, statistics: auto, teacher_module_io: both", "teacher_module_io must be one of"),
    ],
)
def test_mistakes_in_the_keywords_name_their_place(tmp_path, kwargs, message):
    config = read_config(write(tmp_path, kwargs))
    with pytest.raises(ConfigError, match=message) as refused:
        letkd_terms(config, config.construct())
    assert "at train.criterion.kwargs.sub_terms.letkd1 (line " in str(refused.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (both("auto")[0].replace("layer3", "layer9"), "the teacher has no module 'layer9' at train.criterion"),
        (both("auto")[0].replace("layer3", "fc"), r"must lead to a feature map \(B, c, H, W\), found \(1, 10\)"),
        (
            both("auto")[0].replace("16", "4000"),
            r"num_centres must be at most 3072, found 4000 \(48 images, maps of 8 x",
        ),
        (
            both("auto")[1].replace("es: 2", "es: 80"),
            r"subclasses must be at most 76, found 80 .* lower it at .*\.subclasses \(",
        ),
        (f"{both('auto')[0]}, fit_dataset_id: digit/test", "unknown fit_dataset_id 'digit/test' .* 'digits/test'"),
        (f"{both('auto')[1]}, components: 12", "components must be at most 9, found 12"),
    ],
)
def test_what_cannot_be_fitted(tmp_path, monkeypatch, kwargs, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        fit(write(tmp_path, kwargs), device="cpu")


def test_two_terms_that_contradict_each_other(tmp_path):
    first = both(tmp_path / "s")[0]
    config = write(tmp_path, first, first.replace("layer3", "layer2"))
    with pytest.raises(
        ConfigError, match=r"use the same file, .* but differ in penultimate\.layer, .*set another file"
    ):
        fit(config, device="cpu")


# The data


def term(**stage):
    place = "train.criterion (line 1)"
    return LetKDTerm(place, stage, {}, "penultimate", "auto", "l", "output", None, Settings(), stage.pop("id", None))


def loaders(train_id="train", val_id="val"):
    return {"train_data_loader": {"dataset_id": train_id}, "val_data_loader": {"dataset_id": val_id}}


def test_the_augmentation_is_taken_away_and_the_training_set_keeps_it(tmp_path):
    config = read_config(small_configs.write(tmp_path))
    plain, augmented = ToTensor(), RandomCrop(2)
    sets = [FakeData(9, transform=augmented, target_transform=torch.neg) for _ in range(2)]
    data = {
        "train": ConcatDataset([Subset(sets[0], [4, 2]), sets[1]]),
        "val": Subset(FakeData(9, transform=plain), [1]),
    }
    found, described = fit_dataset(config, {"datasets": data}, term(**loaders()))
    assert len(found) == 11
    image, label = found[0]
    reference, own = FakeData(9, transform=plain)[4]
    assert torch.equal(image, reference)
    assert label == -own
    assert all(dataset.transform is augmented for dataset in sets)
    assert all(dataset.transforms.transform is augmented for dataset in sets)
    assert described == "train (FakeData; ToTensor())"


def test_a_data_set_can_be_named(tmp_path):
    config = read_config(small_configs.write(tmp_path))
    data = {"plain": TensorDataset(torch.zeros(2, 1))}
    found, described = fit_dataset(config, {"datasets": data}, term(id="plain"))
    assert found is data["plain"]
    assert described == "plain (TensorDataset; )"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": FakeData(4)}, "no val_data_loader whose transform could replace the augmentation; "),
        ({"train": FakeData(4), "val": TensorDataset(torch.zeros(2, 1))}, "because val has no attribute transform"),
        ({"train": TensorDataset(torch.zeros(2, 1)), "val": FakeData(4)}, "because it has no attribute transform"),
        ({"val": FakeData(4)}, "needs a train_data_loader"),
    ],
)
def test_data_whose_augmentation_cannot_be_taken_away(tmp_path, data, message):
    config = read_config(small_configs.write(tmp_path))
    with pytest.raises(ConfigError, match=message):
        fit_dataset(config, {"datasets": data}, term(**loaders()))


def test_a_description_has_no_address():
    assert description_of("a", FakeData(1, transform=lambda image: image)).endswith(
        "test_a_description_has_no_address.<locals>.<lambda>>)"
    )


# The command line


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(MIDDLE_LEVEL_LOSS_DICT, "LetKDLoss", LetKDLoss)
    monkeypatch.chdir(tmp_path)
    config = write(tmp_path, *both("auto"))
    arguments = ["fit", str(config), "--device", "cpu", "--cache", "off", "--memory-budget", "512MiB", "--seed", "2"]
    assert main(arguments) == 0
    # Where a training of this seed looks for it.
    path = Path("runs/small/seed2/letkd_statistics.safetensors")
    assert capsys.readouterr().out.startswith(f"statistics written to {path}: penultimate layer3, ")
    assert main([*arguments, "--out", "mine.safetensors"]) == 0
    assert Path("mine.safetensors").read_bytes() == path.read_bytes()
    before = path.stat().st_mtime_ns
    monkeypatch.setitem(MIDDLE_LEVEL_LOSS_DICT, "LetKDLoss", StandIn)
    train(config, device="cpu", seed=2, overrides=["train.num_epochs=1"])
    assert StandIn.files[-1] == str(path)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("size", ["2 apples", "-1", "0", "2XiB", ""])
def test_a_budget_that_is_no_size(tmp_path, size):
    with pytest.raises(ValueError, match="--memory-budget must be a size such as 2GiB"):
        fit(tmp_path / "none.yaml", memory_budget=size)


def test_sizes_in_words():
    sizes = {"2GiB": 2 << 30, "512 MiB": 512 << 20, "1.5GB": 1_500_000_000, 4096: 4096}
    assert {size: fit_module.size_in_bytes(size) for size in sizes} == sizes


# Several processes


def test_the_others_wait_for_rank_0_longer_than_the_time_out_and_share_its_error(tmp_path):
    done = together(wait_for_main.main, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert all(rank["seen"] == "done" for rank in ranks)
    assert ranks[1]["waited"] > ranks[1]["timeout"]
    assert [rank["error"] for rank in ranks] == ["no such thing", "no such thing (in process 0)"]
