"""The ``datasets`` section of a config, and the loader's second view."""

from __future__ import annotations

from collections.abc import Sequence

from ..writing.text import WIDTH, flow
from .augmentation import Augmentation
from .datasets import Dataset, Source, Step

ANCHORS = {
    "Grayscale": "grey", "v2.RGB": "rgb", "Pad": "pad", "Resize": "resize", "RandomCrop": "crop",
    "RandomResizedCrop": "crop", "RandomHorizontalFlip": "flip",
}  # fmt: skip
"""Names of the steps that the strong second view shares with the first."""


def data_lines(dataset: Dataset, steps: Augmentation, *, anchored: bool, shared_stats: bool) -> list[str]:
    """Return the lines of ``datasets``.

    ``anchored`` adds anchors to the training steps, for a second view; ``shared_stats`` to mean and standard deviation,
    for the teacher.
    """
    width = WIDTH - 18 - 6 * max(_depth(dataset.train), _depth(dataset.test))
    train = [
        *step_lines(steps.train, width, anchored=anchored),
        *normalize_lines(dataset.stats, shared=shared_stats),
        *step_lines(steps.after, width),
    ]
    sources = [source for source in (dataset.train, dataset.val, dataset.test) if source is not None]
    roots = [_innermost(source)[1].get("root") for source in sources]
    shared_root = roots[0] is not None and len(set(roots)) == 1
    anchor, root = ("&root ", "*root") if shared_root else ("", "")
    lines = ["datasets:", *split_lines("train", dataset.name, dataset.train, compose_lines(train), anchor)]
    plain = compose_lines([*step_lines(steps.test, width), "*to_tensor", "*normalize"])
    evaluated = (dataset.real or dataset).name
    if dataset.val is not None:
        lines.append("  # These images choose best.pt, so that the test images choose nothing.")
        lines += split_lines("val", evaluated, dataset.val, plain, root)
    return [*lines, *split_lines("test", evaluated, dataset.test, plain, root)]


def normalize_lines(stats: tuple[Sequence[float], Sequence[float]], *, shared: bool = False) -> list[str]:
    """Return the steps from an image to a normalised tensor."""
    mean, std = (flow(list(values)) for values in stats)
    if shared:
        mean, std = f"&mean {mean}", f"&std {std}"
    return [
        "&to_tensor !import_call {key: torchvision.transforms.ToTensor, init: {}}",
        "&normalize !import_call",
        "  key: torchvision.transforms.Normalize",
        f"  init: {{kwargs: {{mean: {mean}, std: {std}}}}}",
    ]


def split_lines(split: str, dataset: str, source: Source, compose: list[str], root: str = "") -> list[str]:
    """Return the lines of one split; ``root`` is an anchor or an alias for the folder."""
    return [
        f"  &{split} {dataset}/{split}: !import_call",
        *(f"    {line}" for line in _source(source, compose, root)),
    ]


def _source(source: Source, compose: list[str], root: str) -> list[str]:
    """Return the lines of a data set; the innermost one has the transform."""
    key, kwargs = source
    lines = [f"key: {key}", "init:", "  kwargs:"]
    for argument, value in kwargs.items():
        if argument == "dataset":
            lines += ["    dataset: !import_call", *(f"      {line}" for line in _source(value, compose, root))]
        elif argument == "root" and root:
            lines.append(f"    root: {root}" if root.startswith("*") else f"    root: {root}{flow(value)}")
        else:
            lines.append(f"    {argument}: {flow(value)}")
    return lines if "dataset" in kwargs else [*lines, "    transform: !import_call", *(f"      {c}" for c in compose)]


def _depth(source: Source) -> int:
    return 1 + _depth(source[1]["dataset"]) if "dataset" in source[1] else 0


def _innermost(source: Source) -> Source:
    return _innermost(source[1]["dataset"]) if "dataset" in source[1] else source


def compose_lines(steps: list[str]) -> list[str]:
    """Return a Compose; on one line if all of its steps are aliases."""
    head = ["key: torchvision.transforms.Compose"]
    if all(step.startswith("*") for step in steps):
        return [*head, f"init: {{args: [[{', '.join(steps)}]]}}"]
    lines = [*head, "init:", "  args:", "    -"]
    # The further lines of a step are already indented.
    return lines + [f"      {step}" if step.startswith("  ") else f"      - {step}" for step in steps]


def step_lines(steps: Sequence[Step], width: int, *, anchored: bool = False) -> list[str]:
    """Return the lines of the steps; the further lines of a long step are indented."""
    lines = []
    for name, kwargs in steps:
        anchor = f"&{ANCHORS[name]} " if anchored and name in ANCHORS else ""
        key, init = f"key: torchvision.transforms.{name}", f"init: {{kwargs: {flow(kwargs)}}}"
        short = f"{anchor}!import_call {{{key}, {init}}}"
        lines += [short] if len(short) <= width else [f"{anchor}!import_call", f"  {key}", f"  {init}"]
    return lines


def strong_view(dataset: Dataset, steps: Augmentation) -> list[str]:
    """Return the lines of the train loader that add a strong view of every image."""
    shared = [f"*{ANCHORS[name]}" for name, _ in steps.train if name in ANCHORS]
    if dataset.flips:
        note = "Both views in one batch of twice the size: the strong one is the weak one and AutoAugment."
        policy = f"!import_call {{key: torchvision.transforms.AutoAugmentPolicy, init: {{args: [{dataset.policy}]}}}}"
        strong = ["!import_call", "  key: torchvision.transforms.AutoAugment", "  init:", "    kwargs:"]
        strong.append(f"      policy: {policy}")
    else:
        name, shared = ("digits", []) if dataset.name == "digits" else (dataset.title, shared)
        note = f"The strong view is an affine one: the classes of {name} survive no AutoAugment."
        affine = {"degrees": 15, "translate": [0.1, 0.1], "scale": [0.9, 1.1], "shear": 10}
        strong = step_lines([("RandomAffine", affine)], 0)
    return [
        f"    # {note}",
        "    dataset_wrapper:",
        "      key: TwoViews",
        "      kwargs:",
        "        strong: !import_call",
        *(f"          {line}" for line in compose_lines([*shared, *strong, "*to_tensor", "*normalize"])),
        "    collate_fn: collate_two_views",
    ]
