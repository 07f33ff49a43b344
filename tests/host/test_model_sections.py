import pytest
import torch

from kd_plugins.host.model_sections import model_from_section, section_inside
from kd_plugins.models import CIFAR_MODELS, timm_model

CNN = {"key": "cifar_resnet8", "kwargs": {"num_classes": 4}}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_weights_in_the_home_folder(home):
    source = CIFAR_MODELS["cifar_resnet8"](num_classes=4)
    torch.save(source.state_dict(), home / "a.pth")
    for section in ({**CNN, "src_ckpt": "~/a.pth"}, {**CNN, "kwargs": {**CNN["kwargs"], "checkpoint": "~/a.pth"}}):
        assert torch.equal(model_from_section(section).fc.weight, source.fc.weight)
    with pytest.raises(ValueError, match=f"'{home}/b.pth' is missing; did you mean 'a.pth'"):
        model_from_section({**CNN, "src_ckpt": "~/b.pth"})


def test_older_names_of_a_timm_model(tmp_path):
    """Files of older versions of timm have another name for the head, and downsampling at the end of a stage."""
    shape = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    kwargs = {"model_name": "swin_tiny_patch4_window7_224", "num_classes": 3, **shape}
    source = timm_model(**kwargs)
    old = {name.replace("head.fc.", "head."): tensor for name, tensor in source.state_dict().items()}
    # Downsampling ended the stage before the one that it begins now.
    old = {name.replace("layers.1.downsample", "layers.0.downsample"): tensor for name, tensor in old.items()}
    torch.save(old, tmp_path / "a.pth")
    model = model_from_section({"key": "timm_model", "kwargs": kwargs, "src_ckpt": str(tmp_path / "a.pth")})
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("key", ["frozen_teacher", "model_with_logits"])
def test_the_section_inside(key):
    assert section_inside({"key": key, "kwargs": {"model": CNN, "logits": 0}}) == CNN
    assert section_inside(CNN) == CNN
