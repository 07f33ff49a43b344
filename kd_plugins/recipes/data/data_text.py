"""The ``datasets`` section of a config, and the loader's second view."""

from __future__ import annotations

from collections.abc import Sequence

from ..writing.text import WIDTH, flow
from .datasets import Augmentation, Dataset, Split, Step

ANCHORS = {"RandomCrop": "crop", "RandomHorizontalFlip": "flip", "RandomResizedCrop": "crop"}


def data_lines(dataset: Dataset, steps: Augmentation, *, anchored: bool, shared_stats: bool) -> list[str]:
    """Return the lines of ``datasets``.

    ``anchored`` adds anchors to the training steps, for a second view; ``shared_stats`` to mean and standard deviation,
    for the teacher.
    """
    mean, std = (list(values) for values in dataset.stats)
    names = ("&mean ", "&std ") if shared_stats else ("", "")
    before = _steps(steps.train, anchored=anchored)
    normalize = [
        "&to_tensor !import_call {key: torchvision.transforms.ToTensor, init: {}}",
        "&normalize !import_call",
        "  key: torchvision.transforms.Normalize",
        f"  init: {{kwargs: {{mean: {names[0]}{flow(mean)}, std: {names[1]}{flow(std)}}}}}",
    ]
    after = _steps(steps.after, anchored=False)
    test = _steps(steps.test, anchored=False)
    root = dataset.train[1].get("root")
    shared_root = root is not None and dataset.test[1].get("root") == root
    train = [*before, *normalize, *after]
    lines = ["datasets:", *_split("train", dataset, dataset.train, _compose(train), shared_root)]
    plain = _compose([*test, "*to_tensor", "*normalize"])
    if dataset.val is not None:
        lines.append("  # These images choose best.pt, so that the test images choose nothing.")
        lines += _split("val", dataset, dataset.val, plain, shared_root)
    return [*lines, *_split("test", dataset, dataset.test, plain, shared_root)]


def _split(name: str, dataset: Dataset, split: Split, compose: list[str], shared_root: bool) -> list[str]:
    key, kwargs = split
    lines = [f"  &{name} {dataset.name}/{name}: !import_call", f"    key: {key}", "    init:", "      kwargs:"]
    for argument, value in kwargs.items():
        text = flow(value)
        if argument == "root" and shared_root:
            text = f"&root {text}" if name == "train" else "*root"
        lines.append(f"        {argument}: {text}")
    return [*lines, "        transform: !import_call", *(f"          {line}" for line in compose)]


def _compose(steps: list[str]) -> list[str]:
    """Return a Compose; on one line if all of its steps are aliases."""
    head = ["key: torchvision.transforms.Compose"]
    if all(step.startswith("*") for step in steps):
        return [*head, f"init: {{args: [[{', '.join(steps)}]]}}"]
    lines = [*head, "init:", "  args:", "    -"]
    # The further lines of a step are already indented.
    return lines + [f"      {step}" if step.startswith("  ") else f"      - {step}" for step in steps]


def _steps(steps: Sequence[Step], *, anchored: bool) -> list[str]:
    """Return the lines of the steps; the further lines of a long step are indented."""
    lines = []
    for name, kwargs in steps:
        anchor = f"&{ANCHORS[name]} " if anchored and name in ANCHORS else ""
        key, init = f"key: torchvision.transforms.{name}", f"init: {{kwargs: {flow(kwargs)}}}"
        short = f"{anchor}!import_call {{{key}, {init}}}"
        lines += [short] if len(short) <= WIDTH - 18 else [f"{anchor}!import_call", f"  {key}", f"  {init}"]
    return lines


def strong_view(dataset: Dataset, steps: Augmentation) -> list[str]:
    """Return the lines of the train loader that add a strong view of every image."""
    if dataset.name == "digits":
        middle = [
            "                - !import_call",
            "                  key: torchvision.transforms.RandomAffine",
            "                  init: {kwargs: {degrees: 15, translate: [0.1, 0.1], scale: [0.9, 1.1], shear: 10}}",
        ]
        note = "    # The strong view is an affine one: the classes of digits survive no AutoAugment."
    else:
        policy = f"!import_call {{key: torchvision.transforms.AutoAugmentPolicy, init: {{args: [{dataset.policy}]}}}}"
        middle = [f"                - *{ANCHORS[name]}" for name, _ in steps.train if name in ANCHORS]
        middle += [
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
