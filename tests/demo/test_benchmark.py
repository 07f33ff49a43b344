"""The comparison on Fashion-MNIST, on digits in its file format and with few images."""

import gzip
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kd_plugins.config.config import read_config
from kd_plugins.config.leaves import leaves
from kd_plugins.demo import fashion_mnist, run_benchmark
from kd_plugins.demo.fashion_mnist import METHODS, Lengths, student_config, teacher_config
from kd_plugins.recipes import Request, recipe

SHORT = Lengths(1, 1, 1)
COMMON = {"seeds": [0], "lengths": SHORT, "teachers": ["vit"]}


def idx(values):
    return b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of a comparison of a method with a sweep of one trial."""
    folder = tmp_path_factory.mktemp("benchmark")
    digits = load_digits()
    small = np.pad(np.kron(digits.images * 15, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    (folder / "data").mkdir()
    for part, chosen in (("train", slice(0, 1000)), ("t10k", slice(1000, 1060))):
        for kind, values in (("images-idx3", small), ("labels-idx1", digits.target.astype(np.uint8))):
            (folder / "data" / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values[chosen])))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(fashion_mnist, "IMAGES", 40)
        patch.setattr(fashion_mnist, "TEACHER_IMAGES", 80)
        patch.setattr(fashion_mnist, "LETKD", {"num_centres": "4"})
        run_benchmark("run", methods=["letkd1"], trials=1, **COMMON)
        yield folder / "run"


def test_every_teacher_gets_a_table_numbers_and_a_plot(compared):
    table = (compared / "vit.md").read_text()
    assert "Teacher ViT, student ResNet-8" in table
    rows = json.loads((compared / "vit.json").read_text())
    assert [row["name"] for row in rows] == ["ce", "letkd1", "letkd1, swept weights"]
    assert rows[0]["is_baseline"]
    assert all(row["nll"] and row["ece"] and row["gain"] for row in rows[1:])
    assert (compared / "vit.png").read_bytes().startswith(b"\x89PNG")


def test_a_swept_student_differs_in_its_weight_alone_and_has_the_picked_one(compared):
    one, other = (
        dict(leaves(read_config(compared / "configs" / "vit" / f"{name}.yaml").root))
        for name in ("letkd1", "letkd1_swept")
    )
    path = ("train", "criterion", "kwargs", "sub_terms", "letkd1_penultimate", "weight")
    assert {key for key in one if one[key] != other[key]} == {path}
    picked = json.loads((compared / "vit" / "letkd1_sweep" / "sweep.json").read_text())["pick"]["values"]
    assert picked == {".".join(path): other[path]}
    assert 1 / 30 <= float(other[path]) <= 3


def test_letkds_statistics_are_fitted_once_for_all_runs(compared):
    found = [p.relative_to(compared) for p in compared.rglob("*.safetensors")]
    assert [str(p) for p in found] == ["vit/letkd1/letkd_statistics.safetensors"]


def test_a_second_call_trains_nothing_and_gives_the_same_tables(compared, capsys):
    before = {p: p.stat().st_mtime_ns for p in compared.rglob("last.pt")}
    text = run_benchmark("run", methods=["letkd1"], trials=1, **COMMON)
    assert {p: p.stat().st_mtime_ns for p in compared.rglob("last.pt")} == before
    assert text == (compared / "vit.md").read_text()
    assert text in capsys.readouterr().out


def test_a_folder_of_other_lengths_is_refused(compared):
    with pytest.raises(ValueError, match=r"holds another demo \(configs/ce.yaml differs"):
        run_benchmark("run", methods=["letkd1"], seeds=[0], teachers=["vit"], lengths=Lengths(2, 1, 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teachers": ["vti"]}, "unknown teacher 'vti'"),
        ({"methods": ["lsdk"]}, "lsdk"),
        ({"methods": []}, "at least one teacher and one method"),
        ({"trials": -1}, "--trials must be a whole number of at least 0, found -1"),
        ({"seeds": [1, 1]}, "seeds must be different"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        run_benchmark(tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_all_students_have_one_schedule_and_the_papers_weights():
    texts = {method: _student(method) for method in METHODS}
    schedules = {text[text.index("  optimizer:") : text.index("  criterion:")] for text in texts.values()}
    assert len(schedules) == 1
    paper = recipe(Request("ckd", "vit", "resnet8", "fashion-mnist"))
    for text in (paper, texts["ckd"]):
        assert "criterion: {key: CKDLoss, kwargs: {temperature: 1.0}}\n          weight: 10.0" in text


def test_a_teacher_learns_without_smoothed_labels_from_more_images():
    for teacher in ("vit", "resnet20"):
        text = teacher_config(teacher)
        assert "label_smoothing" not in text
        assert f"images: {fashion_mnist.TEACHER_IMAGES}\n" in text
    assert f"images: {fashion_mnist.IMAGES}\n" in _student("kd")


def _student(method):
    return student_config(method, "vit", checkpoint="teacher.pt", statistics="statistics.safetensors")
