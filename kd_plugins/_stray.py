"""What systems and programs leave among images; light enough for what must not import torch."""

from __future__ import annotations

import os

STRAY_FOLDERS = (
    "__macosx", "__pycache__", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
    "system volume information",
)  # fmt: skip


def is_stray_folder(name: str) -> bool:
    """Tell whether a folder is no class although it lies where class folders do: hidden, or made by a program.

    Example:
        >>> [is_stray_folder(name) for name in (".ipynb_checkpoints", "@eaDir", "cats")]
        [True, True, False]
    """
    return name.startswith(".") or name.lower() in STRAY_FOLDERS


def is_stray_file(path: str) -> bool:
    """Tell whether a file is what macOS writes beside a file on a disk of another system; its ending says image.

    Example:
        >>> [is_stray_file(path) for path in ("data/._cat.jpg", "data/cat.jpg")]
        [True, False]
    """
    return os.path.basename(path).startswith("._")


def deletes_stray_files(folder: str) -> str:
    """Return the command that deletes the files of :func:`is_stray_file`."""
    return f"find {folder} -name '._*' -delete"
