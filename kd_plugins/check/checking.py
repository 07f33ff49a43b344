"""Check a config: names, files, and a few training steps on real batches."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._checks import check_at_least
from .._errors import ConfigError
from ..config.build import constructed, limited, quiet_torchdistill
from ..config.build import logger as builder
from ..config.config import Config, parse_config, read_config
from ..config.fake_data import with_fake_data
from ..config.renamed_keys import old_config
from ..config.safe import refuse_unsafe
from ..config.validate import Validator
from ..runtime.distributed import pick_device
from .findings import ERROR, WARNING, Findings, format_findings
from .rules.sections import check_sections
from .stage import all_stages
from .steps.stage_run import StageReport, run_stage


@dataclass(frozen=True)
class Report:
    """Result of a check.

    Attributes:
        config: path of the config.
        findings: errors, warnings and passed checks.
        stages: results of the steps of each stage; empty if no step was run.
    """

    config: str
    findings: Findings
    stages: tuple[StageReport, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the config has an error."""
        return self.findings.failed

    def text(self) -> str:
        """Return the report as tables."""
        blocks = [format_findings(self.findings)]
        for stage in self.stages:
            found = stage.text()
            blocks += [f"{stage.name}:", *found] if found and len(self.stages) > 1 else found
        levels = [finding.level for finding in self.findings]
        counts = ((levels.count(name), name) for name in (ERROR, WARNING))
        blocks.append(f"{self.config}: " + ", ".join(f"{n} {name}{'s' * (n != 1)}" for n, name in counts))
        return "\n\n".join(blocks)

    def json(self) -> str:
        """Return the report as JSON."""
        findings, stages = [vars(found) for found in self.findings], [stage.as_dict() for stage in self.stages]
        return json.dumps({"config": self.config, "findings": findings, "stages": stages}, indent=2) + "\n"


def check_config(
    path: str | Path,
    *,
    fake_data: bool = False,
    device: str = "cpu",
    images: int | None = None,
    safe_packages: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> Report:
    """Check a config without training it.

    Args:
        path: the YAML file.
        fake_data: use random images and weights; nothing is read from disk or downloaded.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        images: largest batch size; 64 by default, 8 for large images.
        safe_packages: see :func:`~kd_plugins.training.train.train`.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.

    Raises:
        ValueError: if the config file cannot be read or an argument is wrong. Mistakes in the config are reported, not
            raised.
    """
    path = Path(path)
    if images is not None:
        check_at_least("images", images, 2)
    place = pick_device(device)
    try:
        config = read_config(path, overrides)
    except ConfigError as error:
        if not path.is_file() or str(error).startswith("--set"):
            raise
        findings = Findings(parse_config("{}", path))
        findings.failure(error)
        return Report(str(path), findings)
    findings = Findings(config)
    try:
        if safe_packages is not None:
            refuse_unsafe(config, safe_packages)
        old = old_config(config)
        if old is not None:
            raise ConfigError(old)
    except ConfigError as error:
        findings.failure(error)
        return Report(str(path), findings)
    # The check reports random weights itself, and does not need warnings such as that about the number of workers.
    with quiet_torchdistill(logging.ERROR), limited(builder, logging.ERROR), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runnable = with_fake_data(config) if fake_data else config
        built = _built(findings, runnable)
        if built is None or not check_sections(findings, built, weights=not fake_data):
            return Report(str(path), findings)
        options: dict[str, Any] = {"device": place, "images": images, "fake_data": fake_data}
        stages = [run_stage(findings, runnable, stage, **options) for stage in all_stages(built)]
        return Report(str(path), findings, tuple(stages))


def before_training(config: Config, built: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Check a config by all rules that need no training step: print the warnings, and raise on the first error.

    Args:
        config: the config.
        built: its objects.
        quiet: print nothing; set in every process but the first.

    Raises:
        ConfigError: the first error, with the number of errors.
    """
    findings = Findings(config)
    validator = Validator(config, built)
    validator.findings()  # fills validator.unread; wrong names and keywords were raised when the config was built
    findings.unread(validator.unread)
    check_sections(findings, built, weights=False)
    wrong = [finding for finding in findings if finding.level == ERROR]
    if wrong:
        more = f" ({len(wrong)} errors in all: kd-plugins check)" if len(wrong) > 1 else ""
        raise ConfigError(f"{config.path}: {wrong[0].text()}{more}")
    for finding in findings if not quiet else ():
        if finding.level == WARNING:
            print(f"{config.path}: warning: {finding.text()}", file=sys.stderr)


def _built(findings: Findings, config: Config) -> dict[str, Any] | None:
    """Build a config's objects and check their names."""
    with findings.caught():
        built = constructed(config)
        validator = Validator(config, built)
        found = validator.findings()
        for wrong in found:
            findings.failure(wrong)
        findings.unread(validator.unread)
        if not found:
            findings.fine("all names and keywords are known")
        return built
    return None
