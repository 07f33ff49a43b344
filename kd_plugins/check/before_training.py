"""The checks before training: all rules that need no training step."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .._errors import ConfigError
from ..config.config import Config
from ..config.validate import Validator
from .findings import ERROR, WARNING, Findings
from .rules.sections import check_sections


def before_training(config: Config, built: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Print the warnings about a config; raise on the first error.

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
