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
    mean, std = (list(values) for values in dataset.stats)
    names = ("&mean ", "&std ") if shared_stats else ("", "")
    width = WIDTH - 18 - 6 * max(_depth(dataset.train), _depth(dataset.test))
    before = _steps(steps.train, width, anchored=anchored)
    normalize = [
        "&to_tensor !import_call {key: torchvision.transforms.ToTensor, init: {}}",
        "&normalize !import_call",
        "  key: torchvision.transforms.Normalize",
        f"  init: {{kwargs: {{mean: {names[0]}{flow(mean)}, std: {names[1]}{flow(std)}}}}}",
    ]
    after = _steps(steps.after, width)
    test = _steps(steps.test, width)
    sources = [source for source in (dataset.train, dataset.val, dataset.test) if source is not None]
    roots = [_innermost(source)[1].get("root") for source in sources]
    shared_root = roots[0] is not None and len(set(roots)) == 1
    train = [*before, *normalize, *after]
    lines = ["datasets:", *_split("train", dataset, dataset.train, _compose(train), shared_root)]
    plain = _compose([*test, "*to_tensor", "*normalize"])
    evaluated = dataset.real or dataset
    if dataset.val is not None:
        lines.append("  # These images choose best.pt, so that the test images choose nothing.")
        lines += _split("val", evaluated, dataset.val, plain, shared_root)
    return [*lines, *_split("test", evaluated, dataset.test, plain, shared_root)]


def _split(name: str, dataset: Dataset, source: Source, compose: list[str], shared_root: bool) -> list[str]:
    root = ("&root " if name == "train" else "*root") if shared_root else ""
    return [
        f"  &{name} {dataset.name}/{name}: !import_call",
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


def _compose(steps: list[str]) -> list[str]:
    """Return a Compose; on one line if all of its steps are aliases."""
    head = ["key: torchvision.transforms.Compose"]
    if all(step.startswith("*") for step in steps):
        return [*head, f"init: {{args: [[{', '.join(steps)}]]}}"]
    lines = [*head, "init:", "  args:", "    -"]
    # The further lines of a step are already indented.
    return lines + [f"      {step}" if step.startswith("  ") else f"      - {step}" for step in steps]


def _steps(steps: Sequence[Step], width: int, *, anchored: bool = False) -> list[str]:
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
    shared = [f"                - *{ANCHORS[name]}" for name, _ in steps.train if name in ANCHORS]
    if not dataset.flips:
        name, middle = ("digits", []) if dataset.name == "digits" else (dataset.title, shared)
        middle += [
            "                - !import_call",
            "                  key: torchvision.transforms.RandomAffine",
            "                  init: {kwargs: {degrees: 15, translate: [0.1, 0.1], scale: [0.9, 1.1], shear: 10}}",
        ]
        note = f"    # The strong view is an affine one: the classes of {name} survive no AutoAugment."
    else:
        policy = f"!import_call {{key: torchvision.transforms.AutoAugmentPolicy, init: {{args: [{dataset.policy}]}}}}"
        middle = [
            *shared,
            "                - !import_call",
            "                  key: torchvision.transforms.AutoAugment",
            "                  init:",
            "                    kwargs:",
            f"                      policy: {policy}",
        ]
        note = "    # Both views in one batch of twice the size: the strong one is the weak one and AutoAugment."
    return [
        note,
        "    dataset_wrapper:",
        "      key: TwoViews",
        "      kwargs:",
        "        strong: !import_call",
        "          key: torchvision.transforms.Compose",
        "          init:",
        "            args:",
        "              -",
        *middle,
        "                - *to_tensor",
        "                - *normalize",
        "    collate_fn: collate_two_views",
    ]
