"""Files and folders that systems and programs leave among images; does not import torch."""

from __future__ import annotations

import os

STRAY_FOLDERS = (
    "__macosx", "__pycache__", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
    "system volume information",
)  # fmt: skip


def is_stray_folder(name: str) -> bool:
    """Tell whether a folder among class folders is none itself: hidden, or created by a program.

    Example:
        >>> [is_stray_folder(name) for name in (".ipynb_checkpoints", "@eaDir", "cats")]
        [True, True, False]
    """
    return name.startswith(".") or name.lower() in STRAY_FOLDERS


def is_stray_file(path: str) -> bool:
    """Tell whether a file is an AppleDouble file, which macOS writes beside files on other file systems.

    Example:
        >>> [is_stray_file(path) for path in ("data/._cat.jpg", "data/cat.jpg")]
        [True, False]
    """
    return os.path.basename(path).startswith("._")


def deletes_stray_files(folder: str) -> str:
    """Return the command that deletes the files of :func:`is_stray_file`."""
    return f"find {folder} -name '._*' -delete"
