import socket
import threading

import pytest
import timm
import torch
from huggingface_hub import constants

from kd_plugins.models import input_normalization, is_frozen, pretrained, pretrained_input, timm_model

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SMALL = {
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3},
    "deit_tiny_patch16_224": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3},
    "deit_tiny_distilled_patch16_224": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32,
        "patch_size": 2,
        "window_size": 4,
        "embed_dim": 24,
        "depths": [1, 1],
        "num_heads": [2, 4],
    },
    "mixer_b16_224": {"img_size": 32, "patch_size": 4, "num_blocks": 2, "embed_dim": 24},
    "resmlp_12_224": {"img_size": 32, "patch_size": 8, "num_blocks": 1, "embed_dim": 24},
    "convnext_tiny": {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]},
    "resnet10t": {},
}


@pytest.fixture
def online(monkeypatch):
    """Undo the offline mode of the tests and any proxy; the endpoint refuses every connection."""
    for name in pretrained.PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


@pytest.fixture
def attempts(monkeypatch):
    """Return the list of addresses that anything connects to during the test."""
    made, connect = [], socket.socket.connect

    def kept(self, address):
        made.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", kept)
    return made


def put_into_hub_cache(cache, repository, model):
    """Lay out a file as the hub's cache does: refs/main names a revision, whose snapshot has the file."""
    folder = cache / "hub" / ("models--" + repository.replace("/", "--"))
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    torch.save(model.state_dict(), folder / "snapshots" / ("0" * 40) / "pytorch_model.bin")


@pytest.mark.parametrize("name", SMALL)
def test_small_builds_for_32_pixels(name):
    model = timm_model(model_name=name, num_classes=7, **SMALL[name])
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_mixer_keeps_the_settings_of_its_factory():
    """With the factory's own values given as keywords, the result is what the factory builds."""
    model = timm_model(model_name="resmlp_12_224", patch_size=16, num_blocks=12, embed_dim=384)
    reference = timm.create_model("resmlp_12_224")
    assert str(model) == str(reference)
    assert {n: p.shape for n, p in model.named_parameters()} == {n: p.shape for n, p in reference.named_parameters()}
    assert model.pretrained_cfg == reference.pretrained_cfg


def test_mixer_takes_a_tag():
    model = timm_model(model_name="mixer_b16_224.goog_in21k", num_blocks=1, embed_dim=8, num_classes=5)
    assert model.pretrained_cfg["tag"] == "goog_in21k"
    assert model.num_classes == 5


@pytest.mark.parametrize(
    ("name", "expected", "size"),
    [
        ("resnet10t", IMAGENET, (3, 176, 176)),
        ("vit_tiny_patch16_224", HALF, (3, 32, 32)),
        ("mixer_b16_224", HALF, (3, 32, 32)),
        ("deit_tiny_patch16_224", IMAGENET, (3, 32, 32)),
    ],
)
def test_expected_input_is_told(name, expected, size):
    model = timm_model(model_name=name, **SMALL[name])
    assert input_normalization(model) == expected
    assert pretrained_input(model).input_size == size
    assert (pretrained_input(model).mean, pretrained_input(model).std) == expected


def test_other_models_tell_no_input():
    assert pretrained_input(torch.nn.Linear(2, 2)) is None
    assert input_normalization(torch.nn.Linear(2, 2)) is None


def test_frozen_and_checkpoint(tmp_path):
    source = timm_model(model_name="resnet10t", num_classes=3)
    torch.save(source.state_dict(), tmp_path / "a.pth")
    model = timm_model(model_name="resnet10t", num_classes=3, checkpoint=tmp_path / "a.pth", frozen=True)
    assert is_frozen(model)
    assert torch.equal(model.fc.weight, source.fc.weight)
    with pytest.raises(ValueError, match="number of classes expected 10, found 3"):
        timm_model(model_name="resnet10t", num_classes=10, checkpoint=tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"model_name": "resnt18"}, "unknown timm model 'resnt18' at model_name; did you mean 'resnet18'"),
        (
            {"model_name": "resnet18.a1_in1"},
            "unknown tag .*'resnet18.a1_in1' .*mean 'resnet18.a1_in1k'",
        ),
        ({"model_name": ""}, "model_name must be a timm model's name, such as 'resnet18', found ''"),
        ({"model_name": 18}, "found 18"),
        (
            {"model_name": "resnet10t", "num_clases": 3},
            r"\(ResNet\) takes no keyword 'num_clases'.*'num_cl",
        ),
        ({"model_name": "vit_tiny_patch16_224", "patch_siz": 4}, "no keyword 'patch_siz'; .*'patch_size'"),
        ({"model_name": "mixer_b16_224", "num_block": 4}, "no keyword 'num_block'; .*'num_blocks'"),
        (
            {"model_name": "mixer_b16_224", "num_blocks": 4, "img_siz": 4},
            "no keyword 'img_siz'; .*'img_si",
        ),
        (
            {"model_name": "poolformer_s12", "drop_rat": 0.1},
            r"\(MetaFormer\) takes no keyword 'drop_rat'",
        ),
        ({"model_name": "resnet10t", "img_size": 32}, "it takes images of any size; remove img_size"),
        (
            {"model_name": "vit_tiny_patch16_224", "img_size": 30, "patch_size": 4, "depth": 1},
            r"img_size must be divisible by patch_size, found \(30, 30\) and \(4, 4\)",
        ),
        (
            {"model_name": "mixer_b16_224", "img_size": 30, "patch_size": 4, "num_blocks": 1},
            "img_size must be divisible by patch_size",
        ),
        (
            {"model_name": "vit_tiny_patch16_224", "embed_dim": 50, "num_heads": 3},
            "timm cannot build 'vit_tiny_patch16_224' with .*'num_heads': 3.*divisible by num_heads",
        ),
        ({"model_name": "resnet10t", "pretrained": "yes"}, "pretrained must be True or False, found 'yes'"),
        ({"model_name": "resnet10t", "frozen": 1}, "frozen must be True or False, found 1"),
        ({"model_name": "timm/resnet18"}, "Use 'hf-hub:timm/resnet18'"),
        ({"model_name": "resnet10t", "pretrained": True, "checkpoint": "a.pth"}, "cannot be used together"),
        (
            {"model_name": "coatnet_0_224", "pretrained": True},
            "pretrained must be False for 'coatnet_0_224'.*timm has none for any tag of this model",
        ),
    ],
)
def test_errors(keywords, message):
    with pytest.raises(ValueError, match=message):
        timm_model(**keywords)


def test_tags_with_weights_are_listed():
    name = "tf_efficientnet_b8"
    with pytest.raises(ValueError, match=f"names with weights: {name}.ap_in1k, {name}.ra_in1k"):
        timm_model(model_name=name, pretrained=True, pretrained_cfg={"hf_hub_id": None})


@pytest.mark.parametrize("name", ["resnet10t", "hf-hub:timm/resnet10t.c3_in1k"])
def test_offline_mode_is_an_error_without_an_attempt_to_connect(cache, attempts, monkeypatch, name):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"OFFLINE forbids .*`checkpoint: FILE`.*set HF_HOME") as caught:
        timm_model(model_name=name, pretrained=True)
    assert not attempts
    assert str(cache) in str(caught.value)


@pytest.mark.parametrize("name", ["resnet10t", "hf-hub:timm/resnet10t.c3_in1k"])
def test_unreachable_hub_is_an_error_after_one_attempt(cache, online, attempts, name):
    with pytest.raises(ValueError, match=r"http://127.0.0.1:9/timm/resnet10t.c3_in1k cannot be reached"):
        timm_model(model_name=name, pretrained=True)
    assert attempts == [("127.0.0.1", 9)]


def test_a_slow_look_up_ends_after_the_limit(online, monkeypatch):
    monkeypatch.setattr(pretrained, "PROBE_SECONDS", 0.1)

    leave, left = threading.Event(), threading.Event()

    def look_up(*args, **kwargs):
        leave.wait(60)
        left.set()
        raise OSError

    monkeypatch.setattr(socket, "create_connection", look_up)
    assert not pretrained._reachable("https://hub.example")
    assert not left.is_set()
    leave.set()
    assert left.wait(60)


def test_an_open_port_is_reachable(online):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert pretrained._reachable(f"http://127.0.0.1:{server.getsockname()[1]}/x")


def test_a_proxy_is_left_to_decide(online, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert pretrained._reachable("http://127.0.0.1:9")


def test_weights_at_an_address(cache, online, monkeypatch):
    """Weights outside the hub: missing from torch's cache, then found there."""
    source = timm_model(model_name="resnet10t")
    config = {"url": "http://127.0.0.1:9/weights/resnet10t.pth", "hf_hub_id": None}
    with pytest.raises(ValueError, match=r"127.0.0.1:9/weights/resnet10t.pth cannot be .*set TORCH_HOME"):
        timm_model(model_name="resnet10t", pretrained=True, pretrained_cfg_overlay=config)
    (cache / "torch" / "checkpoints").mkdir(parents=True)
    torch.save(source.state_dict(), cache / "torch" / "checkpoints" / "resnet10t.pth")
    model = timm_model(model_name="resnet10t", pretrained=True, pretrained_cfg_overlay=config)
    assert torch.equal(model.fc.weight, source.fc.weight)


@pytest.mark.parametrize("offline", [True, False])
def test_cached_weights_need_no_network(cache, online, attempts, monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    source = timm_model(model_name="resnet10t")
    put_into_hub_cache(cache, "timm/resnet10t.c3_in1k", source)
    model = timm_model(model_name="resnet10t", pretrained=True, num_classes=10)
    assert not attempts
    assert torch.equal(model.conv1[0].weight, source.conv1[0].weight)
    assert model.fc.weight.shape == (10, 512)


def test_a_hub_name_in_the_cache_asks_for_offline_mode(cache, online, monkeypatch):
    put_into_hub_cache(cache, "me/mine", timm_model(model_name="resnet10t", num_classes=4))
    (snapshot,) = (cache / "hub" / "models--me--mine" / "snapshots").iterdir()
    (snapshot / "config.json").write_text('{"architecture": "resnet10t", "num_classes": 4}')
    with pytest.raises(ValueError, match="set HF_HUB_OFFLINE=1 to build 'hf-hub:me/mine' from the cache"):
        timm_model(model_name="hf-hub:me/mine", pretrained=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert timm_model(model_name="hf-hub:me/mine", pretrained=True).num_classes == 4


def test_a_file_in_the_overlay_needs_no_network(cache, online):
    source = timm_model(model_name="resnet10t")
    torch.save(source.state_dict(), cache / "a.pth")
    model = timm_model(model_name="resnet10t", pretrained=True, pretrained_cfg_overlay={"file": str(cache / "a.pth")})
    assert torch.equal(model.fc.weight, source.fc.weight)


def test_an_old_name_of_a_model_stands_for_its_successor(caplog):
    model = timm_model(model_name="convnext_tiny_in22ft1k", num_classes=3, depths=[1, 1, 1, 1], dims=[8, 8, 8, 8])
    assert model.pretrained_cfg["tag"] == "fb_in22k_ft_in1k"
    assert "timm has renamed the model 'convnext_tiny_in22ft1k' to 'convnext_tiny.fb_in22k_ft_in1k'" in caplog.text


def test_an_old_name_of_a_model_that_is_gone(monkeypatch):
    monkeypatch.setattr(timm.models, "get_deprecated_models", lambda: {"old_net": None})
    with pytest.raises(ValueError, match="timm has removed 'old_net'"):
        timm_model(model_name="old_net")


CONVNEXT = {"model_name": "convnext_tiny", "num_classes": 3, **SMALL["convnext_tiny"]}


def of_the_authors(model):
    """Give the parameters of a ConvNeXt the names of its authors' files."""
    replaced = {"stem.": "downsample_layers.0.", "head.norm": "norm", "head.fc": "head", "mlp.fc1": "pwconv1"}
    replaced |= {"mlp.fc2": "pwconv2", "conv_dw": "dwconv"}
    state = {}
    for name, tensor in model.state_dict().items():
        for new, old in replaced.items():
            name = name.replace(new, old)
        parts = name.split(".")
        if parts[0] == "stages":
            name = ".".join([*parts[:2], *parts[3:]]) if parts[2] == "blocks" else name
            if parts[2] == "downsample":
                name = ".".join(["downsample_layers", *parts[1:2], *parts[3:]])
        state[name] = tensor
    return state


def test_names_of_the_authors_are_converted(tmp_path, caplog):
    source = timm_model(**CONVNEXT)
    state = of_the_authors(source)
    assert state.keys() != source.state_dict().keys()
    torch.save({"model": state}, tmp_path / "a.pth")
    model = timm_model(**CONVNEXT, checkpoint=tmp_path / "a.pth")
    assert all(torch.equal(t, source.state_dict()[name]) for name, t in model.state_dict().items())
    assert "converted older names of the parameters" in caplog.text


def test_names_that_timm_does_not_know_are_refused(tmp_path):
    state = {f"x{name}": tensor for name, tensor in timm_model(**CONVNEXT).state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"the file lacks 'stem\.0\.weight'"):
        timm_model(**CONVNEXT, checkpoint=tmp_path / "a.pth")


def test_weights_are_not_resized(tmp_path):
    shape = SMALL["vit_tiny_patch16_224"]
    source = timm_model(model_name="vit_tiny_patch16_224", num_classes=3, **{**shape, "img_size": 16})
    state = {name: tensor for name, tensor in source.state_dict().items() if name != "norm.bias"}
    for content in (source.state_dict(), state):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(ValueError, match=r"'pos_embed' \(expected \(1, 65, 24\), found \(1, 17, 24\)\)"):
            timm_model(model_name="vit_tiny_patch16_224", num_classes=3, **shape, checkpoint=tmp_path / "a.pth")


def test_averaged_weights_in_a_checkpoint(tmp_path):
    raw, averaged = timm_model(**CONVNEXT), timm_model(**CONVNEXT)
    torch.save({"state_dict": raw.state_dict(), "state_dict_ema": averaged.state_dict()}, tmp_path / "a.pth")
    for use_ema, expected in ((True, averaged), (False, raw)):
        model = timm_model(**CONVNEXT, checkpoint=tmp_path / "a.pth", use_ema=use_ema)
        assert torch.equal(model.head.fc.weight, expected.head.fc.weight)
