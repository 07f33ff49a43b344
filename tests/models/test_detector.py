"""Faster R-CNN over timm's backbones: what is frozen, normalisation, and other settings refused."""

import pytest
import torch
from detectors import LOSSES, TINY, tiny

from kd_plugins.data.detection import CanvasDigits
from kd_plugins.models import timm_detector


def trained(detector):
    return {name for name, p in detector.backbone.body.named_parameters() if p.requires_grad}


def test_its_losses_are_torchvisions():
    detector = tiny()
    images, targets = zip(*CanvasDigits(images=2), strict=True)
    losses = detector(list(images), list(targets))
    assert tuple(losses) == LOSSES
    assert detector.transform.image_mean == [0.5, 0.5, 0.5]  # the backbone's


def test_frozen_stages():
    assert len(trained(tiny())) == len(list(tiny().backbone.body.parameters()))
    two = trained(tiny(frozen_stages=2))
    assert not any(name.startswith(("conv1", "layer1")) for name in two)
    assert any(name.startswith("layer2") for name in two)
    assert not any(name.startswith("layer3") for name in trained(tiny(frozen_stages=4)))


def test_frozen_norms_do_not_move():
    detector = tiny(frozen_norms=True).train()
    before = {name: tensor.clone() for name, tensor in detector.backbone.body.named_buffers()}
    detector.backbone(torch.rand(2, 3, 64, 64))
    assert before
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.backbone.body.named_buffers())


def test_whole_weights_from_a_file(tmp_path):
    first = tiny(0)
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    second = tiny(1, checkpoint=tmp_path / "weights.pt", frozen=True).train()
    images = [CanvasDigits(images=1)[0][0]]
    assert torch.equal(second(images)[0]["boxes"], first.eval()(images)[0]["boxes"])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"model_name": "no_such_net"}, "no_such_net"),
        ({"model_name": "mixer_s16_224"}, r"maps of strides \[4, 8, 16, 32\], found \[16\]"),
        ({"num_classes": 1}, "num_classes must be a whole number of at least 2"),
        ({"anchors": [8, 16]}, "anchors must be five sides"),
        ({"frozen_stages": 7}, "frozen_stages must be a number whose stride"),
        ({"min_sizes": 3}, "timm_detector takes no keyword 'min_sizes'"),
        ({"box_head": None}, "timm_detector takes no keyword 'box_head'"),
    ],
)
def test_refusals(keywords, message):
    with pytest.raises(ValueError, match=message):
        timm_detector(**{**TINY, **keywords})
