"""`kd-plugins analyze`: one pass over the images for all analyses, files and a table for each."""

import json

import pytest
import small_configs
import studies
import torch

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.analyze import analyze, build_analyses, look_at_images
from kd_plugins.analysis.base import Reading
from kd_plugins.analysis.kinds import ANALYSES
from kd_plugins.analysis.study import named_runs
from kd_plugins.cli import main
from kd_plugins.models import CIFAR_MODELS

TEACHER = "  teacher_model: {key: cifar_resnet14, kwargs: {num_classes: 10}}\n"
STUDENT = "  student_model: {key: cifar_resnet8, kwargs: {num_classes: 10}}"
ON_IMAGES = ["logits", "tsne", "correlation", "cam", "attention", "cka", "agreement", "probe", "information"]
KEYS = {
    "logits": {"statistics", "bars", "difference", "histogram", "classes", "classes_without_images"},
    "tsne": {"perplexity", "rows", "labels", "classes", "points", "features"},
    "correlation": {"of", "centred", "classes", "difference"},
    "cam": {"methods", "class", "constant", "shown", "similarity"},
    "attention": {"ndam", "points", "shown", "distance"},
    "cka": {"layers", "cka", "aligned"},
    "agreement": {"classes", "teacher_wrong", "students"},
    "information": {
        "sweep",
        "by",
        "repeats",
        "training_images",
        "r0",
        "least",
        "log_classes",
        "image_size",
        "information",
    },
    "probe": {"head", "training_images", "accuracy", "own"},
}
"""Keys of the JSON files, as in the guide."""
QUICK = ["--repeats", "1", "--epochs", "1"]
ABOUT = {"what", "config", "data", "images", "seed", "models"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with a config and the weights of two students."""
    folder = tmp_path_factory.mktemp("runs")
    small_configs.write(folder, TEACHER_MODEL=TEACHER, STUDENT_MODEL=STUDENT)
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        (folder / name / "seed0").mkdir(parents=True)
        torch.save(CIFAR_MODELS["cifar_resnet8"](num_classes=10).state_dict(), folder / name / "seed0" / "best.pt")
    return folder


def command(runs, *arguments, checkpoints=("one", "two")):
    given = [text for name in checkpoints for text in ("--checkpoint", str(runs / name / "seed0" / "best.pt"))]
    return ["analyze", str(runs / "small.yaml"), *given, "--device", "cpu", *map(str, arguments)]


def test_every_analysis_of_the_images_together(runs, tmp_path, capsys):
    line = command(runs, "--what", ",".join(ON_IMAGES), "--out", tmp_path / "out", "--images", "30", *QUICK)
    assert main(line) == 0
    printed = capsys.readouterr().out
    for name in ON_IMAGES:
        found = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert found.keys() == ABOUT | KEYS[name]
        assert found["images"] == 30
        assert list(found["models"]) == ["teacher", "one", "two"]
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{name}: {ANALYSES[name].title}\n" in printed
        assert f"{tmp_path / 'out' / name}.json, {tmp_path / 'out' / name}.png\n" in printed
    assert main([*line, "--no-plot", "--what", "correlation,information"]) == 0
    assert f"{tmp_path / 'out' / 'correlation.json'} (replaced)\n" in capsys.readouterr().out


def test_two_checkpoints_give_the_same_as_two_calls(runs, tmp_path):
    def call(*names):
        (done,) = analyze(
            runs / "small.yaml", ["logits"], checkpoints=[str(runs / name / "seed0") for name in names],
            out=tmp_path, plot=False, device="cpu",
        )  # fmt: skip
        return done.result

    both, one, two = call("one", "two"), call("one"), call("two")
    assert both["statistics"] == one["statistics"] | two["statistics"]
    assert both["difference"] == one["difference"] | two["difference"]


def test_epochs_of_a_run_are_in_order(tmp_path):
    for epoch in (10, 9, 100):
        (tmp_path / f"epoch-{epoch}.pt").touch()
    found = named_runs([f"kd={tmp_path}/epoch-*.pt"])
    assert list(found) == ["kd epoch-9", "kd epoch-10", "kd epoch-100"]


def test_some_images_are_a_seeded_draw(runs, tmp_path):
    def call(seed):
        options = {"images": 12, "seed": seed, "out": tmp_path, "plot": False, "device": "cpu"}
        (done,) = analyze(runs / "small.yaml", ["tsne"], **options)
        return done.result["rows"]

    assert call(0) == call(0) != call(1)
    assert len(set(call(0))) == 12


def test_models_run_once_and_stay_as_they_were():
    model = studies.network().train()
    model.layer2.eval()
    given = studies.study(model, batch=10)
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    before = len(calls)
    look_at_images(build_analyses(["logits", "tsne", "cam"], {}), given)
    handle.remove()
    assert len(calls) - before <= 2 + 12  # two batches, and probes of two images
    assert model.training
    assert not model.layer2.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_inference_mode_enabled() is False


def test_models_stay_as_they_were_after_an_error(monkeypatch):
    model = studies.network().train()
    given = studies.study(model)

    def fail(_batch, _values):
        raise RuntimeError("made up")

    analysis = ANALYSES["tsne"]()
    reading = Reading({"x": (("layer1", "output"), lambda tensor: tensor)}, fail)
    monkeypatch.setattr(analysis, "reads", lambda *_: reading)
    with pytest.raises(RuntimeError, match="made up"):
        look_at_images([analysis], given)
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--what", "logit"], "unknown analysis 'logit'; did you mean 'logits'"),
        (["--what", "tsne,tsne"], "--what must be different analyses"),
        (["--what", "tsne", "--image", "3"], "--image is an option of logits: add it to --what"),
        (["--what", "tsne", "--images", "0"], "--images must be a whole number of at least 1, found 0"),
        (["--what", "tsne", "--checkpoint", "none.pt"], "--checkpoint none.pt: none.pt does not exist"),
        (["--what", "tsne", "--checkpoint", "teacher=CONFIG"], "the name 'teacher' stands for the config's teacher"),
        (["--what", "tsne", "--checkpoint", "RUNS"], "the folder has no best.pt"),
        (["--what", "tsne", "--checkpoint", "RUNS/one/seed0"], "the name 'one' is taken; write OTHER_NAME="),
        (["--what", "tsne", "--checkpoint", "vgg=RUNS/vgg.pt"], "does not fit ResNet: the file lacks 'conv1.weight'"),
        (["--what", "tsne", "--checkpoint", "few=RUNS/few.pt"], "number of classes expected 10, found 3"),
        (["--what", "tsne", "--out", "CONFIG"], "small.yaml cannot be created: File exists; name another folder"),
        (["--what", "tsne", "--checkpoint", "a=RUNS/epoch-*.pt"], "kd-plugins train --keep-every N` writes them"),
        (["--what", "cam", "--points", "stage7"], "has no feature point 'stage7'; did you mean"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(runs, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    torch.save(CIFAR_MODELS["cifar_vgg8"](num_classes=10).state_dict(), runs / "vgg.pt")
    torch.save(CIFAR_MODELS["cifar_resnet8"](num_classes=3).state_dict(), runs / "few.pt")
    filled = [text.replace("RUNS", str(runs)).replace("CONFIG", str(runs / "small.yaml")) for text in arguments]
    assert main(command(runs, *filled, checkpoints=("one",))) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not (tmp_path / "analysis").exists()


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("attention", ["--points", "stage7"]),  # found before the pass over the images
        ("tsne", ["--images", "2"]),  # found after it
        ("subclasses", []),  # the config has no letKD term
        ("logits", ["--image", "9999"]),
        ("curves", []),  # the runs have no metrics
        ("detections", []),
    ],
)
def test_a_refused_call_leaves_no_folder(runs, capsys, tmp_path, what, arguments):
    out = tmp_path / "new" / "analysis"
    assert main(command(runs, "--what", what, "--out", out, *arguments, checkpoints=("one",))) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())
    out.mkdir(parents=True)
    assert main(command(runs, "--what", what, "--out", out, *arguments, checkpoints=("one",))) == 2
    assert out.exists()


def test_a_refused_analysis_keeps_those_before_it(runs, tmp_path):
    out = tmp_path / "out"
    line = command(runs, "--what", "logits,tsne", "--out", out, "--images", "2", "--no-plot", checkpoints=("one",))
    assert main(line) == 2
    assert [path.name for path in out.iterdir()] == ["logits.json"]


def test_what_a_config_must_have(runs, tmp_path, capsys):
    assert main(command(runs, "--what", "correlation", checkpoints=())) == 2
    assert "correlation needs a student: add --checkpoint NAME=FILE" in capsys.readouterr().err
    alone = small_configs.write(tmp_path, **small_configs.without_teacher(STUDENT_MODEL=STUDENT))
    line = ["analyze", str(alone), "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main([*line, "--what", "tsne"]) == 2
    assert "tsne needs a model: add --checkpoint NAME=FILE" in capsys.readouterr().err
    checkpoint = ["--checkpoint", str(runs / "one" / "seed0")]
    assert main([*line, *checkpoint, "--what", "correlation"]) == 2
    assert "correlation needs a teacher; the config has no models.teacher_model" in capsys.readouterr().err
    assert main([*line, *checkpoint, "--what", "logits,cam"]) == 0


def test_models_of_different_classes():
    given = studies.study(studies.network(classes=5), student=studies.network(classes=6))
    with pytest.raises(ConfigError, match="found numbers of classes: teacher 5, student 6"):
        look_at_images(build_analyses(["logits"], {}), given)
    given = studies.study(studies.network(classes=3))
    with pytest.raises(ConfigError, match=r"labels must lie in 0..2, the classes of the models, found 0..4"):
        look_at_images(build_analyses(["logits"], {}), given)
