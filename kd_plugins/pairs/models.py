"""The models of the papers' tables: how configs name them, and where their feature points are.

The points are those of :func:`kd_plugins.models.feature_points`, as data, so that a recipe needs no torch; a test
compares the two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._names import unknown_name
from .cifar import NETWORKS, Network

CIFAR, CNN, VIT = "cifar", "cnn", "vit"
"""Families: networks for 32x32 images, timm's convolutional networks, and timm's transformers and mixers."""

BLOCKS = {"wrn": "layer.", "convnext": "blocks.", "swin": "blocks."}
"""Start of a model's name -> module between a stage and its numbered blocks."""

VGG_LARGE = 64
"""Smallest size of images that a VGG halves once more."""

IMAGENET_STATS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Point:
    """A named place in a model, as :class:`kd_plugins.models.FeaturePoint` has it."""

    name: str
    path: str
    io: str
    layout: str
    channels: int
    stride: int | None
    prefix_tokens: int = 0


@dataclass(frozen=True)
class Model:
    """A model that recipes know."""

    name: str  # in file names and on the command line
    title: str  # in comments
    key: str  # what torchdistill's registry calls it
    family: str  # ``CIFAR``, ``CNN`` or ``VIT``
    points: tuple[Point, ...] = ()  # its feature points
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the model, beside ``num_classes``
    input_size: int = 32  # its own height and width of images
    mobile: bool = False  # whether schedules use the learning rate of mobile students
    pretrained: str = ""  # timm's name for the ImageNet weights of the papers' teacher
    imagenet_stats: bool = True  # whether its timm weights need ImageNet's mean and standard deviation
    pools_last_map: bool = True  # whether its classifier reads the average of its last map

    def point(self, name: str) -> Point:
        """Return a feature point.

        Raises:
            ValueError: if the model has none of that name.
        """
        found = next((point for point in self.points if point.name == name), None)
        if found is not None:
            return found
        self.need_points()
        raise ValueError(f"{self.name} has no feature point {name!r}; it has {', '.join(p.name for p in self.points)}")

    def need_points(self) -> None:
        """Raise ``ValueError`` if the table of models does not have the feature points."""
        if not self.points:
            raise ValueError(
                f"the feature points of {self.name} are not in the recipes' table; use a method on logits, or start "
                "from the recipe of a similar model and name the module paths by hand"
            )

    def section(self, classes: int) -> dict[str, Any]:
        """Return the section of a config that builds the model."""
        return {"key": self.key, "kwargs": {**self.kwargs, "num_classes": classes}}

    def at_size(self, size: int) -> Model:
        """Return the model for images of a size: VGGs halve large ones once more before the last stage.

        Example:
            >>> vgg = find_model("vgg8", family="cifar")
            >>> vgg.point("last_map").stride, vgg.at_size(64).point("last_map").stride
            (8, 16)
        """
        if not self.name.startswith("vgg") or size < VGG_LARGE:
            return self
        points = tuple(dataclasses.replace(p, stride=16) if p.path == "relu4" else p for p in self.points)
        return dataclasses.replace(self, points=points)

    @property
    def resizable(self) -> bool:
        """Whether it takes images of any size; of timm's models, convolutional networks of the table do."""
        return self.key != "timm_model" or (self.family == CNN and bool(self.points))

    @property
    def intermediate(self) -> Point:
        """Return the place of letKD's intermediate layer, after the first block of the last stage.

        Raises:
            ValueError: if the stages are unknown.
        """
        if not self.stages:
            raise ValueError(f"letkd2 has a layer behind the first block of the last stage, and {self.name} has no "
                             "blocks that the recipes know: use letkd1")  # fmt: skip
        last = self.point(self.stages[-1])
        before = self.point(self.stages[-2])
        if self.name.startswith("vgg"):
            # A block is a convolution, norm and ReLU; the last stage of vgg8 has a single one.
            if self.name == "vgg8":
                return dataclasses.replace(before, name="intermediate")
            return dataclasses.replace(last, name="intermediate", path="block4.2")
        if before.stride == last.stride:
            # Stages of one resolution are parts of one list of blocks.
            blocks, _, number = before.path.rpartition(".")
            path = f"{blocks}.{int(number) + 1}"
        else:
            inside = next((found for name, found in BLOCKS.items() if self.name.startswith(name)), "")
            path = f"{last.path}.{inside}0"
        return dataclasses.replace(last, name="intermediate", path=path)

    @property
    def single_block(self) -> bool:
        """Whether the last stage is a single block, so that :attr:`intermediate` is the last map."""
        return self.name in ("resnet8", "resnet8x4", "vit")

    @property
    def stages(self) -> list[str]:
        """Names of the stages, in order."""
        return [point.name for point in self.points if point.name.startswith("stage")]


def _points(
    stages: Mapping[str, tuple[int, int]], last: tuple[str, int, int], head: str, layout: str = "NCHW", prefix: int = 0
) -> tuple[Point, ...]:
    """Return the points of stages, path -> (channels, stride), of the last map, and of the classifier's input."""
    made = [
        Point(f"stage{number}", path, "output", layout, channels, stride, prefix)
        for number, (path, (channels, stride)) in enumerate(stages.items(), 1)
    ]
    made.append(Point("last_map", last[0], "output", layout, last[1], last[2], prefix))
    return (*made, Point("pooled", head, "input", "NC", last[1], None))


def _pyramid(
    prefix: str, first: int, widths: Sequence[int], last: tuple[str, int], head: str, layout: str = "NCHW", *,
    stride: int = 4,
) -> tuple[Point, ...]:  # fmt: skip
    """Return the points of stages that halve the map, from ``stride`` on; the last map has the last stride."""
    stages = {f"{prefix}{first + i}": (width, stride * 2**i) for i, width in enumerate(widths)}
    return _points(stages, (*last, stride * 2 ** (len(widths) - 1)), head, layout)


def _cifar_points(network: Network) -> tuple[Point, ...]:
    match network.family:
        case "ResNet":
            width = network.settings.get("widths", (16, 16))[1]
            return _pyramid("layer", 1, (width, 2 * width, 4 * width), ("layer3", 4 * width), "fc", stride=1)
        case "WideResNet":
            width = 16 * network.settings["widen"]
            return _pyramid("block", 1, (width, 2 * width, 4 * width), ("relu", 4 * width), "fc", stride=1)
        case "VGG":
            stages = {"relu0": (64, 1), "relu1": (128, 2), "relu2": (256, 4), "relu3": (512, 8), "relu4": (512, 8)}
            return _points(stages, ("relu4", 512, 8), "classifier")
        case "BasicResNet":
            return _pyramid("layer", 1, (64, 128, 256, 512), ("layer4", 512), "linear", stride=1)
        case "BottleneckResNet":
            return _pyramid("layer", 1, (256, 512, 1024, 2048), ("layer4", 2048), "linear", stride=1)
        case "MobileNetV2":
            stages = {"blocks.1": (12, 2), "blocks.2": (16, 4), "blocks.4": (48, 8), "blocks.6": (160, 16)}
            return _points(stages, ("conv2", 1280, 16), "classifier.0")
        case "ShuffleNetV1":
            return _pyramid("layer", 1, (240, 480, 960), ("layer3", 960), "linear", stride=2)
        case _:
            return _pyramid("layer", 1, (116, 232, 464), ("relu2", 1024), "linear", stride=2)


def _cifar_models() -> Iterator[Model]:
    for network in NETWORKS.values():
        mobile = network.family.startswith(("MobileNet", "ShuffleNet"))
        yield Model(network.name, network.title, network.key, CIFAR, _cifar_points(network), mobile=mobile)


def _timm(name: str, title: str, model_name: str, family: str, points: tuple[Point, ...] = (), **flags: Any) -> Model:
    return Model(name, title, "timm_model", family, points, {"model_name": model_name}, 224, **flags)


def _plain(channels: int, prefix_tokens: int) -> tuple[Point, ...]:
    """Return the points of twelve blocks at one resolution."""
    stages = {f"blocks.{i}": (channels, 16) for i in (2, 5, 8, 11)}
    return _points(stages, ("norm", channels, 16), "head", "NLC", prefix_tokens)


def _timm_models() -> Iterator[Model]:
    for depth, widths, tag in (
        (18, (64, 128, 256, 512), ""),
        (34, (64, 128, 256, 512), "resnet34.tv_in1k"),
        (26, (256, 512, 1024, 2048), ""),
        (50, (256, 512, 1024, 2048), "resnet50.tv_in1k"),
    ):
        points = _pyramid("layer", 1, widths, ("layer4", widths[3]), "fc")
        yield _timm(f"resnet{depth}", f"ResNet-{depth}", f"resnet{depth}", CNN, points, pretrained=tag)
    points = _pyramid("blocks.", 1, (128, 256, 512, 1024), ("blocks.4", 1024), "classifier")
    yield _timm("mobilenetv1", "MobileNetV1", "mobilenetv1_100", CNN, points, mobile=True)
    mobile = {"blocks.1": (24, 4), "blocks.2": (32, 8), "blocks.4": (96, 16), "blocks.6": (320, 32)}
    points = _points(mobile, ("bn2", 1280, 32), "classifier")
    yield _timm("mobilenetv2", "MobileNetV2", "mobilenetv2_100", CNN, points, mobile=True)
    points = _pyramid("stages.", 0, (96, 192, 384, 768), ("stages.3", 768), "head.fc")
    yield _timm("convnext_tiny", "ConvNeXt-T", "convnext_tiny", CNN, points, pools_last_map=False)
    yield _timm(
        "vit_small", "ViT-S", "vit_small_patch16_224", VIT, _plain(384, 1), imagenet_stats=False, pools_last_map=False
    )
    yield _timm("deit_tiny", "DeiT-T", "deit_tiny_patch16_224", VIT, _plain(192, 1), pools_last_map=False)
    yield _timm("mixer_b16", "Mixer-B/16", "mixer_b16_224", VIT, _plain(768, 0), imagenet_stats=False)
    points = _pyramid("layers.", 0, (96, 192, 384, 768), ("norm", 768), "head.fc", "NHWC")
    yield _timm("swin_tiny", "Swin-T", "swin_tiny_patch4_window7_224", VIT, points)
    points = _pyramid("layers.", 0, (48, 96, 192, 384), ("norm", 384), "head.fc", "NHWC")
    yield _timm("swin_pico", "Swin-P", "swin_pico_patch4_window7_224", VIT, points)


def _digits_models() -> Iterator[Model]:
    """Yield the demo's teachers for 32x32 images: a small ViT that averages its tokens, and a small MLP-Mixer."""
    stages = {f"blocks.{i}": (128, 8) for i in range(4)}
    kwargs = {
        "model_name": "vit_tiny_patch16_224", "img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 4,
        "num_heads": 4, "global_pool": "avg", "class_token": False,
    }  # fmt: skip
    points = _points(stages, ("blocks.3", 128, 8), "head", "NLC")
    # There is a norm between the average and the classifier.
    yield Model("vit", "ViT", "timm_model", CIFAR, points, kwargs, pools_last_map=False)
    kwargs = {"model_name": "mixer_b16_224", "img_size": 32, "patch_size": 8, "num_blocks": 4, "embed_dim": 128}
    points = _points(stages, ("norm", 128, 8), "head", "NLC")
    yield Model("mixer", "MLP-Mixer", "timm_model", CIFAR, points, kwargs)


MODELS: tuple[Model, ...] = (*_cifar_models(), *_timm_models(), *_digits_models())
TIMM_PREFIX = "timm:"


def find_model(name: str, *, family: str) -> Model:
    """Return a model by its name, the key in torchdistill's registry, or timm's name.

    Args:
        name: such as ``"resnet32x4"``, ``"cifar_resnet32x4"``, ``"swin_tiny_patch4_window7_224"``; ``"timm:NAME"`` is
            any timm model.
        family: chooses between two models of one name: ``"cifar"`` or another.

    Raises:
        ValueError: on an unknown name, with the nearest ones.

    Example:
        >>> find_model("resnet50", family="cifar").key, find_model("resnet50", family="cnn").key
        ('cifar_resnet50', 'timm_model')
    """
    wanted = name.strip()
    if wanted.startswith(TIMM_PREFIX):
        own = wanted.removeprefix(TIMM_PREFIX)
        known = [model for model in MODELS if model.kwargs.get("model_name") == own and model.family != CIFAR]
        return known[0] if known else _timm(own.replace(".", "_"), own, own, CNN)
    spelled = {wanted.lower(), wanted.lower().replace("-", "_")}
    found = [model for model in MODELS if spelled & {*_names(model)}]
    if not found:
        known_names = {name for model in MODELS for name in _names(model)}
        error = str(unknown_name("model", name, known_names))
        end = "" if error.endswith("?") else "."
        raise ValueError(f"{error}{end} Any other timm model is {TIMM_PREFIX}NAME, for methods on logits")
    fitting = [model for model in found if (model.family == CIFAR) == (family == CIFAR)]
    return (fitting or found)[0]


def _names(model: Model) -> Iterator[str]:
    yield model.name
    if model.key != "timm_model":
        yield model.key
    elif model.family != CIFAR:
        yield str(model.kwargs["model_name"])
