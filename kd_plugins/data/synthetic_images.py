"""Images that ``kd-plugins synthesize`` computed from a teacher."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .listed_images import LabelledImages

COMMAND = "kd-plugins synthesize"
DESCRIPTION = "synthesis.json"
SHARD = re.compile(r"shard-(\d+)\.safetensors")
DTYPES = {"images": torch.uint8, "labels": torch.int64, "logits": torch.float32}


class SyntheticImages(LabelledImages):
    """The images of a folder of ``kd-plugins synthesize`` as a torchvision-style data set.

    A label is the class that the optimisation aimed at, which need not be what the image shows.

    The folder has one file ``shard-00012.safetensors`` per batch, with ``images`` (B, H, W, 3) as uint8, ``labels``
    (B,) as int64 and ``logits`` (B, K) as float32, and a description ``synthesis.json``. Shards are read in the order
    of their numbers. All images are kept in memory.

    Args:
        root: the folder.
        transform: called on the PIL image.
        target_transform: called on the label.

    Attributes:
        data: images as uint8, shape (N, H, W, 3).
        targets: N labels.
        teacher_logits: the teacher's logits of the images without augmentation, shape (N, K).
        classes: the names of the K classes, by label.
        class_to_idx: label of each class name.
        description: contents of ``synthesis.json``; empty if there is none.

    Raises:
        ValueError: if there is no shard, a shard is damaged, or the shards differ in image size or number of classes.

    Warns:
        UserWarning: if the folder has fewer images than its description requests.

    References:
        Yin et al., Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion, CVPR 2020.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> images, logits = torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.eye(4, 3)
        >>> shard = {"images": images, "labels": torch.tensor([0, 1, 2, 0]), "logits": logits}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file(shard, f"{folder}/shard-00000.safetensors")
        ...     data = SyntheticImages(folder)
        >>> image, label = data[2]
        >>> len(data), image.size, image.mode, data.classes[label], data.teacher_logits.shape
        (4, (8, 8), 'RGB', '2', torch.Size([4, 3]))
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable[[Image.Image], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        paths, self.description = _shard_files(Path(root)), _description(Path(root) / DESCRIPTION)
        shards = [_read(path) for path in paths]
        for path, shard in zip(paths, shards, strict=True):
            for name, what in (("images", "image size"), ("logits", "number of classes")):
                first, found = (list(part[name].shape[1:]) for part in (shards[0], shard))
                if found != first:
                    raise ValueError(
                        f"{path} differs in {what} from {paths[0].name}: {found}, not {first}; one folder holds the "
                        f"images of one run of `{COMMAND}`: move the other shards away"
                    )
        super().__init__(str(root), transform=transform, target_transform=target_transform)
        images, labels, self.teacher_logits = (torch.cat([shard[name] for shard in shards]) for name in DTYPES)
        self.data = images.numpy()
        self._set_labels(labels.tolist(), _classes(root, self.description, self.teacher_logits.shape[1]))
        wanted = self.description.get("images")
        if isinstance(wanted, int) and len(self) < wanted:
            warnings.warn(
                f"{root} has {len(self)} of {wanted} images: `{COMMAND}` with --out {root} computes the others",
                stacklevel=2,
            )

    @property
    def is_noise(self) -> bool:
        """Whether the images are the noise that an optimisation starts from, as its description has no steps."""
        return (self.description.get("options") or {}).get("steps") == 0

    def _image(self, index: int) -> Image.Image:
        return Image.fromarray(self.data[index])

    def extra_repr(self) -> str:
        """Return the line of ``repr`` with image size and number of classes."""
        return f"Synthetic: {self.data.shape[1:]}, {len(self.classes)} classes"


def _shard_files(folder: Path) -> list[Path]:
    """Return the shards of a folder, by number; temporary files are left out."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r} of synthetic images: write it with `{COMMAND}`")
    numbers = {path: int(found[1]) for path in folder.iterdir() if (found := SHARD.fullmatch(path.name))}
    if not numbers:
        raise ValueError(f"{folder} has no shard, such as shard-00000.safetensors: write shards with `{COMMAND}`")
    return sorted(numbers, key=numbers.__getitem__)


def _description(path: Path) -> dict[str, Any]:
    """Return the contents of ``synthesis.json``; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}): delete it and run `{COMMAND}` again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping, found {type(content).__name__}: run `{COMMAND}` again")
    return content


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and run `{COMMAND}` again") from error
    missing = [name for name in DTYPES if name not in tensors]
    wrong = _fault(tensors) if not missing else f"it has no {missing[0]}"
    if wrong:
        raise ValueError(f"{path} is no shard of synthetic images, as {wrong}: delete it and run `{COMMAND}` again")
    return tensors


def _fault(tensors: dict[str, Tensor]) -> str:
    """Return what is wrong with the tensors of a shard; empty if nothing is."""
    for name, dtype in DTYPES.items():
        if tensors[name].dtype != dtype:
            return f"{name} must be {dtype}, found {tensors[name].dtype}"
    images, labels, logits = (tensors[name] for name in DTYPES)
    number = len(images) if images.ndim else 0
    if images.ndim != 4 or images.shape[3] != 3 or not images.numel():
        return f"images must have shape (B, H, W, 3), found {tuple(images.shape)}"
    if labels.shape != (number,):
        return f"labels must have shape ({number},), found {tuple(labels.shape)}"
    if logits.ndim != 2 or len(logits) != number:
        return f"logits must have shape ({number}, K), found {tuple(logits.shape)}"
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        return f"labels must be in 0..{logits.shape[1] - 1}, found {labels.min().item()}..{labels.max().item()}"
    return ""


def _classes(root: str | Path, description: dict[str, Any], number: int) -> Sequence[str]:
    names = description.get("classes")
    if names is None:
        return [str(label) for label in range(number)]
    if not isinstance(names, list) or len(names) != number:
        found = len(names) if isinstance(names, list) else repr(names)
        raise ValueError(
            f"classes in {Path(root) / DESCRIPTION} must be {number} names, one a logit, found {found}: run "
            f"`{COMMAND}` again in another folder"
        )
    return [str(name) for name in names]
