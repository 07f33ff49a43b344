"""What the data sets of a config show: other classes, folders that are no class, files that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from ...config.class_numbering import data_faults, loader_sections
from ...data.images import use_our_reader
from ...data.loading import batches
from ...fitting.data import few_images
from ..findings import Findings

READ = 100
"""Images of every data set that are read to see whether they can be; they are spread over it."""


def check_data(findings: Findings, built: Mapping[str, Any]) -> bool:
    """Add what is wrong with the data sets; return whether a training can use them."""
    faults = list(data_faults(built))
    for fault in faults:
        (findings.error if fault.certain else findings.warning)(fault.message, *fault.path)
    return not any(fault.certain for fault in faults)


def check_samples(findings: Findings, built: Mapping[str, Any]) -> bool:
    """Read some images of every data set; return whether that could be done."""
    use_our_reader(built["datasets"].values())
    before, seen = len(findings), set()
    for place, section in loader_sections(built):
        name = section["dataset_id"]
        if name not in seen:
            seen.add(name)
            with findings.caught(*place):
                for _ in batches(DataLoader(few_images(built["datasets"][name], READ), collate_fn=len)):
                    pass
    return len(findings) == before
