"""Mistakes in data sets: mismatched classes, folders that are not classes, unreadable images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader, Subset

from ...config.class_numbering import data_faults, loader_sections
from ...data.images import use_our_reader
from ...data.inside import single_transforms, transform_of
from ...data.loading import batches
from ...fitting.data import few_images
from ...runtime.tasks import task_named
from ..findings import Findings
from ..stage import Stage, kwargs_of

READ = 100
"""Number of images to read from every data set, evenly spaced."""


def check_data(findings: Findings, built: Mapping[str, Any]) -> bool:
    """Check classes and files of the data sets; return whether training can use them."""
    faults = list(data_faults(built))
    for fault in faults:
        (findings.error if fault.certain else findings.warning)(fault.message, *fault.path)
    return not any(fault.certain for fault in faults)


def check_scale(findings: Findings, built: Mapping[str, Any]) -> None:
    """Add a ``Normalize`` that follows ``ToTensor`` but is not on its scale of 0 to 1."""
    for place, section in loader_sections(built):
        steps = list(single_transforms(transform_of(built["datasets"][section["dataset_id"]])))
        kinds = [type(step).__name__ for step in steps]
        for step in steps[kinds.index("ToTensor") :] if "ToTensor" in kinds else ():
            if type(step).__name__ == "Normalize" and (max(step.mean) > 1 or min(step.mean) < 0 or max(step.std) > 1):
                findings.warning(
                    f"Normalize has mean {list(step.mean)} and std {list(step.std)}, but images from ToTensor lie in "
                    "0 to 1: divide both by 255",
                    *place, "dataset_id",
                )  # fmt: skip


def check_indices(findings: Findings, built: Mapping[str, Any]) -> bool:
    """Add subsets with indices out of range; return whether there are none."""
    before = len(findings)
    for place, section in loader_sections(built):
        data = built["datasets"][section["dataset_id"]]
        if isinstance(data, Subset) and len(data.indices) and hasattr(data.dataset, "__len__"):
            low, high, whole = min(data.indices), max(data.indices), len(data.dataset)
            if high >= whole or low < -whole:
                findings.error(
                    f"the subset has indices {low} to {high}, the data set has 0 to {whole - 1}: change indices",
                    *place, "dataset_id",
                )  # fmt: skip
    return len(findings) == before


def check_fitted_on_test(findings: Findings, stage: Stage) -> None:
    """Add statistics that are fitted on evaluation images."""
    loaders = (stage.section.get("val_data_loader"), (stage.built.get("test") or {}).get("test_data_loader"))
    measured = [(loader or {}).get("dataset_id") for loader in loaders]
    for name, term in stage.terms.items():
        named = kwargs_of(term["criterion"]).get("fit_dataset_id")
        if named is not None and named in measured and named != stage.loader.get("dataset_id"):
            findings.error(
                "statistics are fitted on evaluation images: remove fit_dataset_id, or set it to training images",
                *stage.terms_path, name, "criterion", "kwargs", "fit_dataset_id",
            )  # fmt: skip


def check_samples(findings: Findings, built: Mapping[str, Any]) -> bool:
    """Read some images of every data set; return whether all can be read."""
    use_our_reader(built["datasets"].values())
    before, seen = len(findings), set()
    for place, section in loader_sections(built):
        name = section["dataset_id"]
        if name not in seen:
            seen.add(name)
            with findings.caught(*place):
                few = few_images(built["datasets"][name], READ)
                collate = task_named(section.get("collate_fn")).collate or len
                for _ in batches(DataLoader(few, collate_fn=collate)):
                    pass
    return len(findings) == before
