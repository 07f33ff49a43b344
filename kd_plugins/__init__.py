"""Knowledge-distillation methods, wrappers and models for torchdistill.

Importing the package registers everything that configs can name; ``kd-plugins list`` prints the names.
"""

import sys

from ._version import __version__

_command = sys.modules.get("kd_plugins_cli")
if not (_command and _command.started):  # else the command line registers what the command at hand needs
    from .registry import register_all

    register_all()

__all__ = ["__version__"]
