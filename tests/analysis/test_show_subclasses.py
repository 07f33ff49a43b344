"""`kd-plugins test --show-subclasses`: what a letKD term's statistics see in some test images."""

import pytest
import small_configs
import torch
from torch.utils.data import Subset, TensorDataset
from torchvision.transforms import Compose, Normalize, ToTensor

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.drawing import displayed
from kd_plugins.analysis.plot_subclasses import save_picture
from kd_plugins.analysis.show_subclasses import Assignments, _examples, assignment_report, show_subclasses
from kd_plugins.cli import main
from kd_plugins.config.build import build_config, build_models, build_test_loader
from kd_plugins.config.config import read_config
from kd_plugins.data import Digits
from kd_plugins.data.inside import normalisation
from kd_plugins.fitting.fit import fit
from kd_plugins.host.letkd.student import letkd_student
from kd_plugins.registry import register_all
from kd_plugins.runtime.distributed import Processes
from kd_plugins.runtime.seed import seed_everything
from kd_plugins.statistics import load_statistics

ONE = Processes(0, 1, torch.device("cpu"))
STUDENT = "student: {key: cifar_resnet8, kwargs: {num_classes: 10}}"
LAYERS = "layers: [{point: penultimate, num_scores: 16}, {point: intermediate, num_scores: 20}]"
TERM = "        {kind}: {{criterion: {{key: LetKDLoss, kwargs: {{kind: {kind}, {kwargs}}}}}, weight: 1.0}}\n"
KWARGS = {
    "penultimate": "teacher_module_path: layer3, num_centres: 16, sharpness: 0.5",
    "intermediate": "teacher_module_path: layer2, subclasses: 2, map_size: 8, components: 5",
}


def write(folder, *kinds, statistics="auto", **parts):
    """Write a config with a student that has KD layers and the named letKD terms."""
    terms = "".join(TERM.format(kind=kind, kwargs=f"{KWARGS[kind]}, statistics: {statistics}") for kind in kinds)
    text = small_configs.text(KD_TERM=terms, **parts)
    start = text.index("  student_model:")
    model = f"  student_model: {{key: letkd_student, kwargs: {{{STUDENT}, {LAYERS}}}}}"
    path = folder / "small.yaml"
    path.write_text(text[:start] + model + text[text.index("\n", start) :])
    return path


def checkpoint(folder):
    layers = [{"point": "penultimate", "num_scores": 16}, {"point": "intermediate", "num_scores": 20}]
    student = letkd_student(student={"key": "cifar_resnet8", "kwargs": {"num_classes": 10}}, layers=layers)
    torch.save(student.state_dict(), folder / "best.pt")
    return folder / "best.pt"


@pytest.fixture
def shown(tmp_path):
    """Return a function that fits a term and shows it, with the models and the statistics."""

    def show(kind):
        register_all()
        path = tmp_path / "s.safetensors"
        config = write(tmp_path, kind, statistics=path)
        fit(config, device="cpu")
        config = read_config(config)
        seed_everything(0)
        built = build_config(config)
        teacher, student, _ = build_models(config, built, ONE)
        dataset = build_test_loader(built, ONE).dataset
        found = show_subclasses(config, built, teacher, student, dataset, ONE, checkpoint=tmp_path / "best.pt")
        return found, teacher.eval(), student.eval(), getattr(load_statistics(path), kind)

    return show


def output(model, path, images):
    kept = []
    handle = model.get_submodule(path).register_forward_hook(lambda _m, _i, out: kept.append(out))
    with torch.no_grad():
        model(images)
    handle.remove()
    return kept[0]


def test_marks_equal_a_loop_over_positions(shown):
    found, teacher, student, part = shown("intermediate")
    # Maps of 16 x 16, averaged over squares of 2 x 2.
    maps = torch.nn.functional.avg_pool2d(output(teacher, "layer2", found.images), 2)
    scores = output(student, "kd_layer.intermediate.scores", found.images)
    counts = torch.zeros(len(found.names), 20, dtype=torch.int64)
    targets, agreeing = torch.zeros(len(found.names), 20), torch.zeros(len(found.names))
    for image, label in enumerate(found.labels.tolist()):
        row = list(found.names).index(label)
        for y in range(8):
            for x in range(8):
                point = part.projection @ maps[image, :, y, x] + part.projection_bias
                own = [
                    (float((point - part.subclass_centres[number]).square().sum()), number)
                    for number in (2 * label, 2 * label + 1)
                    if part.subclass_counts[number]
                ]
                nearest = min(own)[1]
                assert found.assigned[image, y, x] == nearest
                counts[row, nearest] += 1
                targets[row] += part.score_table[nearest]
                agreeing[row] += scores[image, :, y, x].argmax() == nearest
    assert torch.equal(found.counts, counts)
    assert found.counts.sum() == found.assigned.numel() == len(found.labels) * 64
    positions = counts.sum(1)
    torch.testing.assert_close(found.targets, targets / positions[:, None])
    assert found.agreement == pytest.approx((agreeing / positions).tolist())
    first = next(iter(found.names))
    assert found.own_share(0) == pytest.approx(found.targets[0, 2 * first : 2 * first + 2].sum().item())


def test_marks_of_the_penultimate_layer_are_the_nearest_centres(shown):
    found, teacher, student, part = shown("penultimate")
    rows = output(teacher, "layer3", found.images).permute(0, 2, 3, 1)
    distances = torch.cdist(rows.flatten(0, 2).double(), part.centres.double())
    assert torch.equal(found.assigned.flatten(), distances.argmin(1))
    assert found.subclasses is None
    soft = (-0.5 * distances.square()).softmax(1).view(len(found.labels), 64, 16).float()
    for row, label in enumerate(found.names):
        torch.testing.assert_close(found.targets[row], soft[found.labels == label].mean((0, 1)), rtol=1e-4, atol=1e-5)
    best = output(student, "kd_layer.penultimate.scores", found.images).argmax(1)
    share = (best == found.assigned)[found.labels == found.labels[0]].float().mean().item()
    assert found.agreement[0] == pytest.approx(share)


def test_four_images_of_the_first_four_classes_that_have_them():
    dataset = Digits(train=False, transform=ToTensor())
    images, labels = _examples(dataset, seed=0)
    assert images.shape == (16, 3, 32, 32)
    assert labels.unique(return_counts=True)[1].tolist() == [4, 4, 4, 4]
    assert torch.equal(labels, labels.sort().values)
    assert len({image.numpy().tobytes() for image in images}) == 16
    again, others = _examples(dataset, seed=0)[0], _examples(dataset, seed=1)[0]
    assert torch.equal(images, again)
    assert not torch.equal(images, others)


def test_a_small_test_set_is_shown_whole():
    labels = torch.tensor([2, 0, 2, 1])
    images, chosen = _examples(TensorDataset(torch.rand(4, 3, 8, 8), labels), seed=0)
    assert chosen.tolist() == [0, 1, 2, 2]
    assert len(images) == 4


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (TensorDataset(torch.zeros(2, 3, 4, 4)), r"a test set of \(image, class index\)"),
        (TensorDataset(torch.zeros(2, 3, 4, 4), torch.zeros(2, 5)), r"a test set of \(image, class index\)"),
        (TensorDataset(torch.zeros(2, 5), torch.zeros(2).long()), r"images as tensors \(c, h, w\), found Tensor"),
        ([(torch.zeros(3, 4, 4), 0), (torch.zeros(3, 4, 6), 0)], "test images of equal size"),
    ],
)
def test_test_sets_that_cannot_be_shown(dataset, message):
    with pytest.raises(ConfigError, match=message):
        _examples(dataset, seed=0)


def test_images_are_shown_as_before_their_normalisation():
    original = torch.rand(2, 3, 4, 4)
    normalise = Normalize((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    data = Digits(train=False, transform=Compose([ToTensor(), Compose([normalise])]))
    shown = displayed(normalise(original), normalisation(Subset(data, [0])))
    torch.testing.assert_close(shown, original)
    # Without a known normalisation, 0..1 stays as it is, and anything else is stretched to it.
    assert torch.equal(displayed(original, None), original)
    stretched = displayed(torch.tensor([-2.0, 0.0, 2.0, 2.0]).view(1, 1, 2, 2), None)
    assert stretched.shape == (1, 3, 2, 2)
    assert stretched[0, 2].flatten().tolist() == [0, 0.5, 1, 1]


def test_the_command_prints_a_table_and_saves_a_picture(tmp_path, capsys):
    config, best = write(tmp_path, "penultimate", "intermediate"), checkpoint(tmp_path)
    command = ["test", str(config), "--checkpoint", str(best), "--device", "cpu", "--show-subclasses"]
    assert main(command) == 2
    error = capsys.readouterr().err
    beside = tmp_path / "letkd_statistics.safetensors"
    assert f"{beside} does not exist; create it with `kd-plugins fit {config} --out {beside}`" in error
    assert main(["fit", str(config), "--out", str(beside), "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main([*command, "--compare-teacher"]) == 0
    picture = tmp_path / "best_subclasses.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "sub-classes  target on own class  student agrees" in printed  # of the intermediate layer
    assert printed.endswith(f"marked images: {picture}\n")
    assert f"heat map of all layers: {tmp_path / 'best_cka.png'}\n" in printed

    analyze = ["analyze", str(config), "--what", "subclasses", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main([*analyze, "--checkpoint", f"a={best}", "--checkpoint", f"b={best}"]) == 0
    again = capsys.readouterr().out
    assert "target on own class  a agrees  b agrees" in again
    assert (tmp_path / "out" / "subclasses.png").exists()
    rows = [line.split() for line in printed.splitlines() if line.endswith(" %")]
    assert len(rows) == 4
    assert all(row in [line.split()[: len(row)] for line in again.splitlines()] for row in rows)

    assert main([*command, "--compare-teacher", "--plot", "x.png"]) == 2
    assert "--plot x.png is one file, but --compare-teacher and --show-subclasses" in capsys.readouterr().err
    assert main([*command, "--plot", str(tmp_path / "no" / "x.png")]) == 2
    assert "the picture cannot be written to" in capsys.readouterr().err
    path = "train.criterion.kwargs.sub_terms.intermediate.criterion.kwargs"
    assert main([*command, "--set", f"{path}.subclasses=3"]) == 2
    assert "do not belong to this config: intermediate.subclasses: expected 3, found 2" in capsys.readouterr().err
    assert main([*command, "--set", f"{path}.statistics={tmp_path}/none"]) == 2
    assert "none does not exist; fit it with `kd-plugins fit CONFIG`" in capsys.readouterr().err


def test_a_config_without_letkd(tmp_path, capsys):
    config, best = write(tmp_path), checkpoint(tmp_path)
    assert main(["test", str(config), "--checkpoint", str(best), "--device", "cpu", "--show-subclasses"]) == 2
    assert "needs a LetKDLoss, but the criterion has none" in capsys.readouterr().err


def test_one_process(tmp_path):
    with pytest.raises(ConfigError, match="must run in one process"):
        show_subclasses(None, {}, None, None, None, Processes(0, 2, torch.device("cpu")), checkpoint=tmp_path)


def made_up(*, subclasses, size, total, agreement=None):
    labels = torch.tensor([0, 0, 1])
    assigned = torch.randint(subclasses or total, (3, *size)) + labels[:, None, None] * (subclasses or 0)
    counts = torch.stack([torch.bincount(assigned[labels == k].flatten(), minlength=total) for k in (0, 1)])
    targets = torch.rand(2, total).softmax(1)
    names = {0: "cup", 1: "a name that is much too long for a row"}
    kind = "intermediate" if subclasses else "penultimate"
    return Assignments(kind, "l", torch.rand(3, 3, 30, 40), labels, names, assigned % total, subclasses, counts,
                       targets, agreement, ("cifar_resnet8", "vit"))  # fmt: skip


@pytest.mark.parametrize(
    ("subclasses", "size", "total"),
    [(8, (3, 4), 80), (12, (2, 3), 1200), (1, (1, 1), 2), (2, (28, 28), 4), (None, (4, 4), 4096)],
)
def test_pictures_of_all_sizes(tmp_path, pictured, subclasses, size, total):
    found = made_up(subclasses=subclasses, size=size, total=total)
    save_picture(found, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "student" not in assignment_report(found)
    texts = pictured[1]()
    assert {"positions", "mean target"} <= texts
    assert any(text.startswith(f"3 test images, {size[0]} x {size[1]} positions each") for text in texts)
    assert any(text.endswith("in l of the teacher vit; student cifar_resnet8") for text in texts)
