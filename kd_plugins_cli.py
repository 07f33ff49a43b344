"""The ``kd-plugins`` command, which starts the command line without importing torch.

``import kd_plugins`` registers everything in torchdistill, which takes seconds. The commands that need that do it
themselves, so that ``kd-plugins recipe``, ``list`` and ``--help`` answer at once; ``kd_plugins/__init__.py`` looks at
:data:`started`.
"""

from __future__ import annotations

started = False


def main() -> int:
    """Run the command line on the arguments of the process."""
    global started
    started = True
    from kd_plugins.cli import main as run

    return run()
