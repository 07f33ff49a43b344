"""Bounds of information: known features, the sweep over K, and its choice."""

import errno
import math
import tempfile

import pytest
import studies
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.information.bounds import Data, choose_keep, information
from kd_plugins.analysis.information.features import FeatureStore
from kd_plugins.analysis.information.heads import Decoder, binary_entropy
from kd_plugins.analysis.kinds.information import InformationPlane, unit_images
from kd_plugins.transforms import keep_salient

QUICK = {"epochs": 30, "repeats": 1, "seed": 0}


@pytest.fixture
def data():
    """Return images of black and white squares, whose least BCE is 0, with labels that the images do not tell."""
    torch.manual_seed(1)
    images = torch.rand(240, 1, 4, 4).round().repeat_interleave(2, 2).repeat_interleave(2, 3)
    labels = torch.arange(240) % 4
    return Data(images[:200], labels[:200], images[200:], labels[200:], 4)


def test_features_that_are_the_images_give_them_back(data):
    found = information(data.train_images, data.images, data, **QUICK)
    assert binary_entropy(data.images) == 0
    assert found.image[0] / data.mean_image_loss() > 0.8
    assert found.reconstruction[0] + found.image[0] == pytest.approx(data.mean_image_loss())


def test_features_of_zeros_tell_nothing(data):
    nothing = torch.zeros(200, 3, 4, 4), torch.zeros(40, 3, 4, 4)
    found = information(*nothing, data, **QUICK)
    assert abs(found.image[0]) < 0.05
    assert abs(found.label[0]) < 0.05


def test_a_one_hot_feature_tells_the_label(data):
    features = [10 * torch.eye(4)[y][:, :, None, None].expand(-1, -1, 2, 2) for y in (data.train_labels, data.labels)]
    assert information(*features, data, **QUICK).label[0] == pytest.approx(math.log(4), abs=0.01)


def test_the_same_seed_gives_the_same_numbers(data):
    features = torch.rand(200, 3, 4, 4), torch.rand(40, 3, 4, 4)
    settings = {**QUICK, "epochs": 2}
    state = torch.get_rng_state()
    first = information(*features, data, **settings)
    assert torch.equal(torch.get_rng_state(), state)
    assert information(*features, data, **settings) == first
    two = information(*features, data, **{**settings, "repeats": 2})
    assert two.image[0] == first.image[0] != two.image[1]


def test_a_map_that_is_enlarged_after_its_convolution():
    decoder = Decoder(6, (8, 10))
    for shape in [(2, 6, 4, 5), (2, 6, 1, 2), (2, 6, 8, 9)]:
        features = torch.rand(shape)
        enlarged = F.interpolate(features, (8, 10), mode="bilinear", align_corners=True)
        assert torch.allclose(decoder(features), decoder.layers(enlarged), atol=1e-5), shape


def test_keeping_all_is_no_mask():
    features = torch.randn(2, 3, 4, 4)
    assert InformationPlane().masked(features, 1.0) is features
    masked = InformationPlane(by="magnitude").masked(features, 0.25)
    assert torch.equal(masked, keep_salient(features, keep=0.25, by="magnitude"))


def test_entropy_and_images():
    assert binary_entropy(torch.tensor([0.5, 0.0])) == pytest.approx(math.log(2) / 2)
    assert Decoder(3, (5, 7))(torch.zeros(2, 3, 2, 2)).shape == (2, 3, 5, 7)
    images = torch.rand(2, 3, 40, 48)
    normal = (images - 0.2) / 0.5
    found = unit_images(normal, ([0.2] * 3, [0.5] * 3))
    assert found.shape == (2, 3, 32, 32)
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize(
    ("sweep", "keep", "runner_up", "flat"),
    [
        # The maximum is at 0.5, and 0.3 is within one sd (0.01) of it.
        ({0.1: [0.19, 0.21], 0.3: [0.286, 0.306], 0.5: [0.29, 0.31], 1.0: [0.24, 0.26]}, 0.3, 0.5, False),
        ({0.1: [0.0, 0.1], 0.5: [0.01, 0.11]}, 0.1, 0.5, True),
        ({0.1: [0.0], 0.5: [0.3], 1.0: [0.2]}, 0.5, 1.0, False),
        ({1.0: [0.3]}, 1.0, None, False),
    ],
)
def test_the_choice(sweep, keep, runner_up, flat):
    found = choose_keep(sweep)
    assert (found["chosen"], found["runner_up"], found["flat"]) == (keep, runner_up, flat)


def given(monkeypatch, **students):
    """Return a study whose training images are its test images, of a teacher whose last map has a ReLU."""
    from kd_plugins.analysis.kinds import information as module

    data = studies.images(40)
    study = studies.study(studies.network(), data=TensorDataset(*data.tensors), **students)
    monkeypatch.setattr(module, "training_loader", lambda _study: DataLoader(data, batch_size=128))
    return study


def test_the_sweep_stops_where_all_that_is_not_zero_is_kept(monkeypatch):
    analysis = InformationPlane(sweep="keep", repeats=2, epochs=1)
    study = given(monkeypatch)
    found = studies.drawn(analysis, study)
    (one,) = found["information"]["teacher"].values()
    shares = [row["share_kept"] for row in one["keep"]]
    features = studies.feature(study.teacher.model, "layer3", study.dataset.tensors[0])
    assert one["zero_share"] == pytest.approx((features == 0).float().mean().item())
    assert 0.1 < one["zero_share"] < 0.9
    assert shares == pytest.approx([0.1 * k for k in range(1, len(shares) + 1)])
    assert shares[-1] < 1
    assert torch.equal(keep_salient(features, keep=shares[-1]), features)
    assert not torch.equal(keep_salient(features, keep=shares[-2]), features)
    printed = "\n".join(analysis.table(found))
    assert "a mask cannot raise information: I(X;F_K) <= I(X;F)" in printed
    assert f"% of the entries are zero, so every K from {shares[-1]:g} on is the same" in printed
    assert "the paper's heuristic chooses K = " in printed


def test_the_plane_over_epochs(monkeypatch):
    students = {"kd epoch-10": studies.network(), "kd epoch-2": studies.network()}
    analysis = InformationPlane(repeats=1, epochs=1, points=["stage1", "last_map"])
    found = studies.drawn(analysis, given(monkeypatch, **students))
    assert list(found["information"]["kd epoch-2"]) == ["stage1", "last_map"]
    assert found["log_classes"] == pytest.approx(math.log(5), abs=1e-6)


def test_large_features_are_kept_in_files_and_give_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kinds = []
    pop = FeatureStore.pop

    def popped(store, key):
        kinds.append(pop(store, key))
        return kinds[-1]

    monkeypatch.setattr(FeatureStore, "pop", popped)
    found = {}
    for budget in ("1GiB", "1MiB", 1):
        kinds.clear()
        torch.manual_seed(0)
        analysis = InformationPlane(repeats=1, epochs=2, keep=0.3, memory_budget=budget)
        found[budget] = studies.result(analysis, given(monkeypatch))["information"]["teacher"]["last_map"]["keep"][0]
        types = {tensor.dtype for tensor in kinds}
        assert types == {"1GiB": {torch.float32}, 1: {torch.float16}}.get(budget, {torch.float32, torch.float16})
        assert not list(tmp_path.iterdir())
    for key in ("r", "label"):
        assert found[1][key] == pytest.approx(found["1GiB"][key], abs=0.02)
        assert found["1MiB"][key] == pytest.approx(found["1GiB"][key], abs=0.02)


def test_memory_returns_to_the_store():
    store = FeatureStore(1000)
    store.append("a", torch.zeros(10, 20), samples=10)
    features = store.pop("a")
    assert store.free == 200
    assert store.mapped(lambda part: part + 1, features).dtype == torch.float16
    del features
    assert store.free == 1000


def test_a_full_disk_is_one_message(monkeypatch, tmp_path):
    class Full:
        def write(self, _data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    message = r"cannot be kept in a file in .*GiB\): No space left on device; make room, set TMPDIR to another folder"
    with pytest.raises(ConfigError, match=message):
        studies.result(InformationPlane(repeats=1, epochs=1, memory_budget=1), given(monkeypatch))
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="No such file or directory; make room"):
        FeatureStore(1).append("a", torch.zeros(2, 2), samples=2)


def test_refuses():
    with pytest.raises(ValueError, match="--keep must be at most 1, found 2"):
        InformationPlane(keep=2)
    with pytest.raises(ValueError, match=r"--keep must be left out with --sweep keep, found 0\.5"):
        InformationPlane(keep=0.5, sweep="keep")
    with pytest.raises(ValueError, match="--repeats must be a whole number of at least 1, found 0"):
        InformationPlane(repeats=0)
    with pytest.raises(ValueError, match="--memory-budget must be a size such as 2GiB"):
        InformationPlane(memory_budget="much")


def test_models_keep_no_gradient(monkeypatch):
    study = given(monkeypatch)
    studies.result(InformationPlane(repeats=1, epochs=1), study)
    assert all(parameter.grad is None for parameter in study.teacher.model.parameters())
