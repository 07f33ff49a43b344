import json

import blobs
import pytest
import torch
from sklearn.metrics import average_precision_score

from kd_plugins import check
from kd_plugins.runtime.distributed import Processes
from kd_plugins.runtime.metrics import Accuracy, MeanAveragePrecision
from kd_plugins.training.train import train

ALONE = Processes(0, 1, torch.device("cpu"))
DKD = "{criterion: {key: DKDLoss, kwargs: {}}, weight: 1.0}"


@pytest.mark.parametrize("kind", ["uint8", "int32"])
def test_narrow_indices_train_and_score_as_int64(tmp_path, kind):
    found = []
    for name in ("int64", kind):
        folder = tmp_path / name
        folder.mkdir()
        config = blobs.write(folder, TRAIN_KIND=name, VAL_KIND=name, TERM=DKD)
        train(config, run_dir=folder / "run", device="cpu")
        found.append(torch.load(folder / "run" / "best.pt", weights_only=True))
    assert found[0]["best_value"] == found[1]["best_value"]
    for ours, theirs in zip(found[0]["model"].values(), found[1]["model"].values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", ["one_hot", "several", "float32", "bool"])
def test_other_labels_are_no_accuracy(tmp_path, kind):
    config = blobs.write(tmp_path, VAL_KIND=kind)
    with pytest.raises(ValueError, match=r"accuracy needs one class index per image, integers of shape \(8,\)"):
        train(config, run_dir=tmp_path / "run", device="cpu")
    found = [f for f in check.check_config(config).findings if f.level == "error"]
    assert len(found) == 1
    assert "metric: multilabel" in found[0].message


def test_soft_labels_train_where_a_loss_takes_them_and_validate_on_indices(tmp_path):
    config = blobs.write(tmp_path, TRAIN_KIND="one_hot")
    assert not check.check_config(config).failed
    assert train(config, run_dir=tmp_path / "run", device="cpu")["test_best"]["samples"] == 16


def test_soft_labels_are_refused_by_a_loss_of_the_target_class(tmp_path):
    config = blobs.write(tmp_path, TRAIN_KIND="one_hot", TERM=DKD)
    with pytest.raises(ValueError, match="targets of DKD must be class indices"):
        train(config, run_dir=tmp_path / "run", device="cpu")
    assert any("DKD must be class indices" in f.message for f in check.check_config(config).findings)


def test_several_labels_are_measured_by_their_own_metric(tmp_path):
    config = blobs.write(tmp_path, TRAIN_KIND="several", VAL_KIND="several", end="metric: multilabel\n")
    assert not check.check_config(config).failed
    summary = train(config, run_dir=tmp_path / "run", device="cpu")
    assert set(summary["test_best"]) == set(summary["teacher"]) - {"weights"} == {"map", "samples"}
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    assert best["best_value"] == line["val"]["map"]


def test_mean_average_precision_is_that_of_scikit_learn_over_the_classes_with_an_image():
    logits = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    labels = (torch.rand(12, 4, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    labels[:, 2] = 0.0
    scores = MeanAveragePrecision(ALONE.device, "Net")
    for rows in (slice(0, 5), slice(5, 12)):
        scores.add(logits[rows], labels[rows])
    there = [0, 1, 3]
    wanted = average_precision_score(labels[:, there], logits[:, there])
    assert scores.result(ALONE) == {"map": pytest.approx(100 * wanted), "samples": 12}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(2, 3), "labels of shape \\(2, 4\\), found shape \\(2, 3\\)"),
        (torch.tensor([0, 1]), "found shape \\(2,\\); remove metric"),
        (torch.full((2, 4), 0.5), "zeros and ones"),
        (["a", "b"], "found list"),
    ],
)
def test_what_is_no_set_of_labels_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        MeanAveragePrecision(ALONE.device, "Net").add(torch.zeros(2, 4), labels)


def test_images_without_any_label_have_no_average_precision():
    scores = MeanAveragePrecision(ALONE.device, "Net")
    scores.add(torch.zeros(2, 4), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="no image has a label"):
        scores.result(ALONE)


def test_labels_beyond_the_classes_are_counted():
    scores = Accuracy(ALONE.device, "Net")
    scores.add(torch.eye(4), torch.tensor([0, 1, 4, -1], dtype=torch.int32))
    with pytest.raises(ValueError, match="2 of 4 labels are outside the 4 classes of Net"):
        scores.result(ALONE)


def test_accuracy_is_measured_with_calibration_over_all_batches():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    scores = Accuracy(ALONE.device, "Net")
    for rows in (slice(0, 2), slice(2, 3)):
        scores.add(logits[rows], torch.tensor([0, 1, 0])[rows])
    # Each confidence is 1 / (1 + exp(-2)) = 0.8808, two of three are right: ECE = 0.8808 - 0.6667. The NLL of a hit is
    # -log(0.8808) = 0.1269, that of the miss is 2.1269.
    wanted = {"top1": 66.6667, "nll": (0.1269 + 0.1269 + 2.1269) / 3, "ece": 21.41, "samples": 3}
    assert scores.result(ALONE) == pytest.approx(wanted, rel=1e-3)


def test_an_unknown_metric_is_an_error_of_the_config(tmp_path):
    config = blobs.write(tmp_path, end="metric: f1\n")
    with pytest.raises(ValueError, match="metric must be one of accuracy, multilabel, found 'f1'"):
        train(config, run_dir=tmp_path / "run", device="cpu")
