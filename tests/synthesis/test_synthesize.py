import errno
import json
import re
import shutil

import pytest
import synthesis_digits
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file

from kd_plugins.cli import main
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.models.fingerprint import fingerprint
from kd_plugins.synthesis import shards as shard_files
from kd_plugins.synthesis.options import Options
from kd_plugins.synthesis.synthesize import synthesize

OPTIONS = Options(steps=2, tv=0.01)
FILES = ["preview.png", *(f"shard-0000{n}.safetensors" for n in range(3)), "synthesis.json"]


def run(config, out, **changed):
    return synthesize(config, out=out, **{"images": 50, "batch": 20, "options": OPTIONS, "device": "cpu", **changed})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "images"
    lines = []
    assert run(config, folder, note=lines.append).made == (0, 1, 2)
    return folder, lines


def test_a_folder_holds_shards_a_record_and_a_preview(whole, trained):
    folder, lines = whole
    assert visible(folder) == FILES
    shards = [load_file(folder / name) for name in FILES[1:4]]
    assert [len(shard["images"]) for shard in shards] == [20, 20, 10]
    for shard in shards:
        assert shard["images"].dtype == torch.uint8
        assert torch.equal(shard["labels"], torch.arange(len(shard["labels"])) % 10)
        assert shard["logits"].shape == (len(shard["labels"]), 10)
    info = json.loads((folder / "synthesis.json").read_text())
    assert info["teacher"] == {"architecture": "cifar_resnet8", "fingerprint": fingerprint(trained)}
    assert info["classes"] == [str(digit) for digit in range(10)]
    assert (info["size"], info["mean"], info["std"]) == ([8, 8], synthesis_digits.MEAN, synthesis_digits.STD)
    assert info["real"] == {"dataset": "digits"}
    assert info["options"] | {"jitter": 0, "flip": False, "steps": 2} == info["options"]
    assert set(info["shards"]) == {"shard-00000", "shard-00001", "shard-00002"}
    assert set(info["shards"]["shard-00002"]["terms"]) == {"loss", "ce", "bn", "tv"}
    with Image.open(folder / "preview.png") as preview:
        assert preview.size == (10 * (80 + 2) + 2, 2 * (80 + 2) + 2)
    assert re.fullmatch(r"50 images of 8x8 in 3 shards, 2 steps each: about \d+ min", lines[0])
    assert re.match(r"shard 2: 10 images, agreement 0.\d+, loss .*; warning: agreement below 0.9", lines[3])


def test_a_shard_depends_on_no_other_and_a_repeated_call_makes_what_is_missing(config, whole, tmp_path):
    folder, _ = whole
    out = tmp_path / "images"
    first = run(config, out, shards=(2, 3))
    assert first.made == (2,)
    assert first.text() == f"{out}: 1 shard made"  # no preview without shard 0
    assert contents(out) == {"shard-00002.safetensors": contents(folder)["shard-00002.safetensors"]}
    (out / ".shard-00000.safetensors.9.tmp").write_bytes(b"of a killed process")
    found = run(config, out)
    assert (found.made, found.existing) == ((0, 1), (2,))
    assert contents(out) == contents(folder)
    assert visible(out) == FILES
    assert not list(out.glob(".*.tmp"))
    again = run(config, out)
    assert (again.made, again.existing) == ((), (0, 1, 2))
    assert again.text() == f"{out}: 0 shards made, 3 already there; {out / 'preview.png'} shows the first images"


def test_a_shard_of_another_process_is_left_to_it(config, tmp_path):
    with FileLock(tmp_path / ".shard-00001.safetensors.lock"):
        found = run(config, tmp_path)
    assert (found.made, found.elsewhere) == ((0, 2), (1,))
    assert "1 made by another process" in found.text()


def test_more_images_later(config, tmp_path):
    run(config, tmp_path, images=40)
    assert run(config, tmp_path, images=50).made == (2,)
    with pytest.raises(ValueError, match=r"shard-00002.safetensors has 10 images, 20 expected.*Keep --images"):
        run(config, tmp_path, images=60)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"options": Options(steps=3, tv=0.01)}, "steps 2, now 3"),
        ({"options": Options(steps=2, tv=0.01, grey=True)}, "grey false, now true"),
        ({"seed": 1}, "seed 0, now 1"),
        ({"batch": 25}, "batch 20, now 25"),
        ({"size": 12}, r"size \[8, 8\], now \[12, 12\]"),
    ],
)
def test_refuses_other_settings_in_a_folder(config, whole, changed, message):
    folder, _ = whole
    before = contents(folder)
    with pytest.raises(ValueError, match=f"has images with other settings: {message}; .*name another --out"):
        run(config, folder, **changed)
    assert contents(folder) == before


def test_refuses_the_folder_of_another_teacher(config, whole, trained, tmp_path):
    state = {name: value + 1 if name == "fc.bias" else value for name, value in trained.state_dict().items()}
    torch.save(state, tmp_path / "other.pt")
    (tmp_path / "other.yaml").write_text(synthesis_digits.config_text(tmp_path / "other.pt"))
    with pytest.raises(ValueError, match=r"other settings: teacher.fingerprint "):
        run(tmp_path / "other.yaml", whole[0])


def test_refuses_a_folder_of_something_else(config, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"is not empty and has no synthesis.json"):
        run(config, tmp_path)


@pytest.mark.parametrize("name", ["shard-00001.safetensors", "synthesis.json"])
def test_a_damaged_file_is_named_and_made_anew(config, whole, tmp_path, name):
    run(config, tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:50])
    with pytest.raises(ValueError, match=f"{name} is damaged: delete it, and run the command again"):
        run(config, tmp_path)
    (tmp_path / name).unlink()
    run(config, tmp_path)
    assert contents(tmp_path) == contents(whole[0])
    assert visible(tmp_path) == FILES


def test_a_full_disk_is_one_message_and_loses_nothing(config, tmp_path, monkeypatch, capsys):
    run(config, tmp_path, shards=(0, 1))
    before = contents(tmp_path)

    def full(path, batch, info):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("kd_plugins.synthesis.synthesize.save_shard", full)
    assert main(["synthesize", str(config), "--out", str(tmp_path), "--images", "50", "--batch", "20", "--steps", "2",
                 "--option", "tv=0.01", "--device", "cpu"]) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert "shard-00001.safetensors: No space left on device; finished shards are kept" in error
    assert contents(tmp_path) == before
    monkeypatch.undo()
    assert run(config, tmp_path).made == (1, 2)


def test_the_command_makes_noise_and_says_where(config, tmp_path, capsys):
    out = tmp_path / "noise"
    assert main(["synthesize", str(config), "--out", str(out), "--images", "10", "--steps", "0", "--size", "8"]) == 0
    printed = capsys.readouterr().out
    assert "10 images of 8x8 in 1 shard, 0 steps each\n" in printed
    assert f"{out}: 1 shard made; {out / 'preview.png'} shows the first images" in printed


def test_without_its_record_a_folder_continues_with_the_same_settings_only(config, tmp_path):
    run(config, tmp_path, shards=(0, 2))
    before = contents(tmp_path)
    (tmp_path / "synthesis.json").unlink()
    with pytest.raises(ValueError, match=r"shard-00000.safetensors was made by another teacher or with other options"):
        run(config, tmp_path, seed=1)
    assert run(config, tmp_path).made == (2,)
    assert before.items() <= contents(tmp_path).items()
    assert len(json.loads((tmp_path / "synthesis.json").read_text())["shards"]) == 3


def test_refuses_a_shard_of_another_folder(config, tmp_path):
    run(config, tmp_path / "one", images=20)
    run(config, tmp_path / "other", images=20, seed=1)
    shutil.copy(tmp_path / "other" / "shard-00000.safetensors", tmp_path / "one")
    with pytest.raises(ValueError, match=r"shard-00000.safetensors was made by another teacher or with other options"):
        run(config, tmp_path / "one", images=20)


def test_a_call_with_size_continues_a_folder_and_keeps_its_names(config, whole, tmp_path):
    run(config, tmp_path, shards=(0, 1))
    assert run(config, tmp_path, size=8).made == (1, 2)
    assert contents(tmp_path) == contents(whole[0])
    info = json.loads((tmp_path / "synthesis.json").read_text())
    assert info["classes"] == [str(digit) for digit in range(10)]
    assert info["real"] == {"dataset": "digits"}


def test_a_teacher_that_gives_no_numbers_is_refused(config, trained, tmp_path):
    state = {name: value * float("nan") if name == "fc.bias" else value for name, value in trained.state_dict().items()}
    torch.save(state, tmp_path / "nan.pt")
    (tmp_path / "kd.yaml").write_text(synthesis_digits.config_text(tmp_path / "nan.pt"))
    with pytest.raises(ValueError, match="the loss of the images was never finite"):
        run(tmp_path / "kd.yaml", tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_a_size_needs_no_images(config, tmp_path):
    text = config.read_text().replace("kd_plugins.data.Digits", "torchvision.datasets.CIFAR10")
    text = re.sub(r"train: (True|False)", r"root: nowhere, train: \1", text)
    (tmp_path / "kd.yaml").write_text(text)
    with pytest.raises(ValueError, match="not found"):
        run(tmp_path / "kd.yaml", tmp_path / "images")
    assert run(tmp_path / "kd.yaml", tmp_path / "images", size=8).made == (0, 1, 2)


def test_flips_where_the_training_images_flip(config, tmp_path):
    first = "!import_call {key: torchvision.transforms.ToTensor"
    flip = "!import_call {key: torchvision.transforms.RandomHorizontalFlip, init: {}},\n      "
    text = config.read_text().replace(first, flip + first)
    (tmp_path / "kd.yaml").write_text(text)
    run(tmp_path / "kd.yaml", tmp_path / "images", images=10)
    assert json.loads((tmp_path / "images" / "synthesis.json").read_text())["options"]["flip"] is True


def test_the_teacher_of_a_wrapper_keeps_its_own_normalisation(config, trained, tmp_path):
    """The teacher was trained with MEAN and STD; the loader of the student has others."""
    loader = "[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]"
    wrapper = (
        "auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {student_mean: [0.5, 0.5, 0.5], "
        f"student_std: [0.5, 0.5, 0.5], mean: {synthesis_digits.MEAN}, std: {synthesis_digits.STD}}}}}"
    )
    text = config.read_text().replace(f"[{synthesis_digits.MEAN}, {synthesis_digits.STD}]", loader)
    text = text.replace("requires_grad: False}", f"requires_grad: False, {wrapper}}}")
    (tmp_path / "kd.yaml").write_text(text)
    run(tmp_path / "kd.yaml", tmp_path / "images")
    run(config, tmp_path / "plain")
    assert contents(tmp_path / "images") == contents(tmp_path / "plain")


def test_a_frozen_teacher_model_lets_the_gradient_through(config, tmp_path):
    weights = re.search(r"src_ckpt: (\S+)}", config.read_text())[1]
    inside = "key: cifar_resnet8, kwargs: {num_classes: 10}"
    around = f"{{key: frozen_teacher, kwargs: {{model: {{{inside}}}}}, src_ckpt: {weights}}}"
    text = config.read_text().replace(f"{{{inside}, src_ckpt: {weights}}}", around)
    assert "frozen_teacher" in text
    (tmp_path / "kd.yaml").write_text(text)
    run(tmp_path / "kd.yaml", tmp_path / "images")
    run(config, tmp_path / "plain")
    assert contents(tmp_path / "images") == contents(tmp_path / "plain")


def test_a_teacher_that_resizes_sees_resized_images(config, tmp_path):
    wrapper = "auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {input_size: 16}}"
    (tmp_path / "kd.yaml").write_text(
        config.read_text().replace("requires_grad: False}", f"requires_grad: False, {wrapper}}}")
    )
    run(tmp_path / "kd.yaml", tmp_path / "images")
    assert json.loads((tmp_path / "images" / "synthesis.json").read_text())["size"] == [8, 8]
    run(config, tmp_path / "plain")
    assert contents(tmp_path / "images") != contents(tmp_path / "plain")


def test_competition_takes_a_fixed_student(config, trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "student.pt")
    competing = Options(steps=2, tv=0.01, competition=10.0)
    run(config, tmp_path / "images", options=competing, student=tmp_path / "student.pt")
    info = json.loads((tmp_path / "images" / "synthesis.json").read_text())
    # The student is the teacher here, so they agree in everything.
    assert info["shards"]["shard-00000"]["terms"]["competition"] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"other settings: competition 10.0, now 0.0"):
        run(config, tmp_path / "images")
    run(config, tmp_path / "plain")
    with pytest.raises(ValueError, match=r"other settings: competition 0.0, now 10.0"):
        run(config, tmp_path / "plain", options=competing, student=tmp_path / "student.pt")
    for changed in ({"options": competing}, {"student": tmp_path / "student.pt"}):
        with pytest.raises(ValueError, match="competition"):
            run(config, tmp_path / "none", **changed)


@pytest.mark.parametrize(
    ("old", "new", "arguments", "message"),
    [
        ("", "", ["--images", "0"], "--images must be a whole number of at least 1, found 0"),
        ("", "", ["--batch", "0"], "--batch must be a whole number of at least 1, found 0"),
        ("", "", ["--shards", "3"], "--shards must be A:B such as 0:50, found '3'"),
        ("", "", ["--shards", "1:9"], "--shards must be A:B within 0:1 (50 images in shards of 256), found 1:9"),
        ("teacher_model", "model", [], "the config has no models.teacher_model. `kd-plugins recipe kd"),
        ("teacher.pt", "missing.pt", [], "missing.pt"),
        ("teacher.pt", "missing.pt", ["--size", "8"], "missing.pt"),
        (", src_ckpt: WEIGHTS", "", [], "the teacher has random weights: set src_ckpt"),
        ("!import_call {key: torchvision.transforms.Normalize", "!import_call {key: torchvision.transforms.Pad", [],
         "no normalisation found: add Normalize to the transform of the validation images"),
    ],
)  # fmt: skip
def test_one_message_for_a_mistake(config, tmp_path, capsys, old, new, arguments, message):
    text = config.read_text()
    old = old.replace("WEIGHTS", re.search(r"src_ckpt: (\S+)}", text)[1])
    if "Normalize" in old:
        text = text.replace(f"[{synthesis_digits.MEAN}, {synthesis_digits.STD}]", "[0]")
    if old == "teacher_model":
        text = re.sub(r"  student_model.*\n", "", text).replace("  teacher: {", "  model: {")
    assert old in text
    (tmp_path / "kd.yaml").write_text(text.replace(old, new))
    given = ["--images", "50", "--steps", "1", "--out", str(tmp_path / "images"), "--device", "cpu", *arguments]
    assert main(["synthesize", str(tmp_path / "kd.yaml"), *given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "images").exists()


def test_refuses_a_size_that_the_teacher_cannot_take(tmp_path):
    torch.save(CIFAR_MODELS["cifar_vgg8"](num_classes=10).state_dict(), tmp_path / "teacher.pt")
    text = synthesis_digits.config_text(tmp_path / "teacher.pt", teacher="cifar_vgg8")
    (tmp_path / "kd.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"cifar_vgg8 cannot take images of 3 x 4 x 4: .*; give the --size"):
        run(tmp_path / "kd.yaml", tmp_path / "images", size=4)


def test_seeds_of_shards_differ_and_repeat():
    seeds = [shard_files.shard_seed(seed, number) for seed in range(3) for number in range(50)]
    assert len(set(seeds)) == 150
    assert seeds[7] == shard_files.shard_seed(0, 7)
