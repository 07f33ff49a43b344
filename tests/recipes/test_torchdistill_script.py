"""Printed configs under torchdistill's own example script, in its older and its newer form."""

import logging
import re
import shutil

import pytest
import stock_script
import torch
from torch import nn
from torchdistill.common.main_util import load_ckpt

from kd_plugins.cli import main
from kd_plugins.data import digits
from kd_plugins.methods import METHODS
from kd_plugins.models import load_checkpoint
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.data.digits import TEACHERS, teacher_checkpoint
from kd_plugins.recipes.plan import parse_method, sum_name

THREE = ",".join(TEACHERS)
CLUSTERS = ("letkd1", "letkd2")
BASES = [name for name in METHODS if name not in ("crd", *CLUSTERS)]  # CRD needs a whole data set, not a part
SUMS = ["sp+kd", "sp_sfkd+sfkd", "reviewkd+kd", "fitnet+at+sp"]


def variants():
    """Yield what is standardized, and what is masked."""
    for name, method in METHODS.items():
        yield from (name + "_ls" for _ in range(method.on_logits and name not in ("kd", "lskd")))
        yield from (name + "_sfkd" for _ in range(method.maskable and name not in ("kd", "lskd", "sfkd", "crd")))


@pytest.fixture(scope="session")
def few_digits():
    """Return the first images of each half; every config builds its data set three times."""
    halves = {train: digits._enlarged(train) for train in (True, False)}
    return {train: (images[:230], labels[:230]) for train, (images, labels) in halves.items()}


@pytest.fixture(autouse=True)
def _few(few_digits, monkeypatch):
    monkeypatch.setattr(digits, "_enlarged", few_digits.__getitem__)


@pytest.fixture(scope="session")
def teachers(tmp_path_factory):
    """Checkpoints of the digits' teachers with random weights, at the paths that the configs name."""
    folder = tmp_path_factory.mktemp("teachers")
    torch.manual_seed(0)
    (folder / "average.yaml").write_text(recipe(Request("average", THREE, "resnet8", "digits")))
    config = stock_script.load_yaml_file(folder / "average.yaml")
    for section in config["models"]["teacher_model"]["kwargs"]["teachers"]:
        write_teacher(section, folder)
    return folder / "runs"


def write_teacher(section, folder):
    path = folder / section["src_ckpt"]
    path.parent.mkdir(parents=True)
    kwargs = {name: value for name, value in section["kwargs"].items() if name != "frozen"}
    model = stock_script.load_model({"key": section["key"], "kwargs": kwargs})
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:  # statistics as after a training: without them, the features of deep networks are huge
        model.train()(torch.randn(16, 3, 32, 32))
    torch.save(model.state_dict(), path)


@pytest.fixture
def on_digits(teachers, tmp_path, monkeypatch):
    """Return what makes a small config on digits, as a user would edit it, and runs it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(teachers, "runs")

    def run(method, teacher="vit", *, newer, images=16, transforms=""):
        teacher = THREE if parse_method(method)[0].method.teachers else teacher
        request = Request(method, teacher, "resnet8", "digits", transforms=transforms)
        return small_run(digits_text(request, images=images), newer=newer)

    return run


def digits_text(request, *, images=16):
    """Return a config of two epochs, each of two steps."""
    return edited(
        recipe(request),
        ("[0, 200]", f"[0, {images}]"),
        ("batch_size: 32", f"batch_size: {images // 2}"),
        ("epochs: 40, steps_per_epoch: 7", "epochs: 2, steps_per_epoch: 2"),
        ("num_epochs: 40", "num_epochs: 2"),
        ("[1200, 1437]", "[200, 230]"),
        ("test_data_loader:\n    dataset_id: *test", "test_data_loader:\n    dataset_id: *val"),
    )


def edited(text, *changes):
    """Replace parts of a config, each of which must be there."""
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return text


def small_run(text, **options):
    with open("small.yaml", "w") as stream:
        stream.write(text)
    torch.manual_seed(0)
    return stock_script.run("small.yaml", **options)


def check(made, log, *, epochs=2, adds=()):
    """Check everything that a run leaves behind.

    Args:
        made: by the script.
        log: text of its log.
        epochs: how many there were, each of two steps.
        adds: what the names of layers begin with that the student has beside its own.
    """
    assert len(made.losses) == len(made.lrs) == 2 * epochs
    assert all(0 < loss < 10_000 for loss in made.losses)
    assert all(lr > 0 for lr in made.lrs)
    assert f"Epoch: [{epochs - 1}]" in log
    assert log.count("Acc@1") == epochs + len(made.tested)
    assert not re.search(r"\b(nan|inf)\b|could not be reached|not found|is trained with the student", log)
    assert all(0 <= top1 <= top5 <= 100 for top1, top5 in [*made.validated, *made.tested.values()])
    assert made.best == max(top1 for top1, _ in made.validated) > 0
    if made.teacher is not None:
        assert_same(made.initial["teacher"], made.teacher.state_dict())

    section = made.config["models"]["student_model" if made.teacher is not None else "model"]
    saved = torch.load(made.file, weights_only=False)["model"]
    fresh = stock_script.load_model(section)
    plain = stock_script.load_model(section["kwargs"]["student"]) if adds else fresh
    assert {name for name in saved if not name.startswith(adds or ("\n",))} == set(plain.state_dict())
    assert any(not torch.equal(saved[name], made.initial["student"][name]) for name, _ in fresh.named_parameters())
    assert_same(saved, load_checkpoint(stock_script.load_model(section), made.file).state_dict())
    load_ckpt(made.file, model=fresh, strict=True)
    assert_same(saved, fresh.state_dict())
    found = stock_script.evaluate(fresh, stock_script.test_loader(made.config), 1000)
    assert found == made.tested["student"] == next(value for value in made.validated if value[0] == made.best)


def assert_same(before, after):
    assert before.keys() == after.keys()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger=stock_script.def_logger.name)
    return caplog


both_forms = pytest.mark.parametrize("newer", [False, True], ids=["older", "newer"])


@both_forms
@pytest.mark.parametrize("method", BASES)
def test_every_method_from_a_vit(on_digits, log, method, newer):
    check(on_digits(method, newer=newer), log.text)


@pytest.mark.parametrize("method", [*variants(), *SUMS])
def test_every_variant_from_a_cnn_with_batch_norm(on_digits, log, method):
    assert sum_name(parse_method(method)) == method
    check(on_digits(method, "resnet20", newer=True), log.text)


def test_transforms_before_a_term(on_digits, log):
    check(on_digits("dkd", newer=True, transforms="standardize,keep_salient=0.5"), log.text)


@both_forms
def test_a_teacher_is_kept_where_its_students_look_for_it(tmp_path, monkeypatch, log, newer):
    monkeypatch.chdir(tmp_path)
    text = recipe(Request("ce", None, "resnet20", "digits"))
    text = edited(text, ("[0, 1200]", "[0, 24]"), ("[1200, 1437]", "[200, 230]"), ("batch_size: 64", "batch_size: 12"))
    text = edited(text, ("epochs: 6, steps_per_epoch: 19", "epochs: 2, steps_per_epoch: 2"))
    text = edited(text, ("num_epochs: 6", "num_epochs: 2"), ("dataset_id: *test", "dataset_id: *val"))
    taught = small_run(text, newer=newer)
    check(taught, log.text)
    assert taught.file == teacher_checkpoint("resnet20")
    student = small_run(digits_text(Request("kd", "resnet20", "resnet8", "digits")), newer=newer)
    assert student.tested["teacher"] == taught.tested["student"]


@both_forms
def test_a_saved_student_is_measured_by_this_package(on_digits, newer, capsys):
    made = on_digits("fitnet", newer=newer)
    assert main(["test", "small.yaml", "--checkpoint", made.file]) == 0
    top1, top5 = made.tested["student"]
    assert re.search(rf"student.*{top1:.2f}.*{top5:.2f}", capsys.readouterr().out)


@both_forms
@pytest.mark.usefixtures("on_digits")
def test_stages_with_and_without_a_wrapper(log, newer):
    hint, kd = (digits_text(Request(name, "vit", "resnet8", "digits")) for name in ("fitnet", "kd"))
    (head, first), second = (text.split("\ntrain:\n") for text in (hint, kd))
    first, test = first.split("\ntest:\n")
    second = re.sub(r"&in_order |&whole ", "", second[1].split("\ntest:\n")[0])
    stages = [f"  stage{n}:\n" + re.sub(r"(?m)^(?=.)", "  ", text) for n, text in enumerate((first, second), start=1)]
    text = f"{head}\ntrain:\n  log_freq: 1\n{stages[0]}\n{stages[1]}\ntest:\n{test}"
    check(small_run(text, newer=newer), log.text, epochs=4)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Return what makes a config on CIFAR-100 small, with noise in place of the images, and runs it."""
    monkeypatch.chdir(tmp_path)

    def run(method, teacher, student, *changes, **options):
        text = recipe(Request(method, teacher, student))
        for flag, length in (("True", 24), ("False", 100)):
            text, count = re.subn(
                rf"torchvision.datasets.CIFAR100(\n.*\n.*\n)( +)root: .*\n +train: {flag}\n +download: True",
                r"kd_plugins.data.fake_images.FakeImages\1"
                rf"\2length: {length}\n\2num_classes: 100\n\2height: 32\n\2width: 32",
                text,
            )
            assert count == 1
        text = re.sub(r"num_epochs: \d+", "num_epochs: 2", text)
        text = edited(text, ("batch_size: 64, num_workers: 8, pin_memory: True", "batch_size: 12, num_workers: 0"))
        text = edited(text, *changes)
        with open("small.yaml", "w") as stream:
            stream.write(text)
        write_teacher(stock_script.load_yaml_file("small.yaml")["models"]["teacher_model"], tmp_path)
        return small_run(text, **options)

    return run


@pytest.mark.parametrize(
    ("method", "newer"), [("fitnet", False), ("fitnet", True), ("crd", False), ("crd", True), ("crd_sfkd", True)]
)
def test_a_pair_on_cifar(cifar, log, method, newer):
    # CRD's config has the numbers of the real set's images, and of those that it compares with.
    changes = [("50000", "24"), ("16384", "16")] if "crd" in method else []
    check(cifar(method, "resnet56", "resnet20", *changes, newer=newer), log.text)


@pytest.mark.parametrize(("method", "newer"), [("kd", False), ("fitnet", True)])
def test_a_teacher_that_sees_other_images(cifar, log, method, newer):
    made = cifar(method, "deit_tiny", "resnet8", newer=newer)
    check(made, log.text)
    assert set(made.tested) == {"teacher", "student"}
    section = made.config["models"]["teacher_model"]
    bare = stock_script.load_model({**section["kwargs"]["model"], "src_ckpt": section["src_ckpt"]}).eval()
    images = torch.rand(2, 3, 32, 32)
    cifar100, imagenet = (
        [torch.tensor(values)[:, None, None] for values in both]
        for both in (
            ([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]),
            ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        )
    )
    own = nn.functional.interpolate((images - imagenet[0]) / imagenet[1], (224, 224), mode="bicubic", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(made.teacher((images - cifar100[0]) / cifar100[1]), bare(own), atol=1e-4, rtol=1e-4)


@both_forms
@pytest.mark.parametrize("method", CLUSTERS)
def test_clusters_are_fitted_first(on_digits, log, method, newer):
    check(on_digits(method, newer=newer, images=200), log.text, adds=("kd_layer.",))
