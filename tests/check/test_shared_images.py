"""Images that are in the training and in the evaluation set."""

import numpy as np
import torch
from torch.utils.data import TensorDataset

from kd_plugins.check.findings import Findings
from kd_plugins.check.rules.shared_images import check_shared_images
from kd_plugins.config.config import parse_config
from kd_plugins.data import Split


class InMemory(TensorDataset):
    """Images of noise in two classes; the first ``copies`` of them are the last ones, too."""

    def __init__(self, copies=0, images=400):
        self.data = np.random.default_rng(0).integers(0, 256, (images, 4, 4)).astype(np.uint8)
        if copies:
            self.data[-copies:] = self.data[:copies]
        self.targets = [number % 2 for number in range(images)]
        super().__init__(torch.from_numpy(self.data), torch.tensor(self.targets))


def messages(tmp_path, trained, measured):
    findings = Findings(parse_config("{}", tmp_path / "c.yaml"))
    check_shared_images(findings, trained, measured, ())
    return [found.message for found in findings]


def parts(copies=0):
    return [Split(InMemory(copies), part=part, val_share=0.5) for part in ("train", "val")]


def test_parts_of_one_set_share_no_image(tmp_path):
    assert messages(tmp_path, *parts()) == []


def test_a_few_images_that_a_set_has_twice_are_no_mistake(tmp_path):
    assert messages(tmp_path, *parts(copies=2)) == []


def test_parts_by_other_seeds_share_images(tmp_path):
    train, _ = parts()
    (message,) = messages(tmp_path, train, Split(InMemory(), part="val", val_share=0.5, seed=1))
    assert "of 200 evaluation images are also training images" in message
