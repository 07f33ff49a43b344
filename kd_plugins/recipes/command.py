"""``kd-plugins recipe``: print a config or write it to a file."""

from __future__ import annotations

from pathlib import Path

from .recipe import recipe
from .request import Request


def run_recipe(request: Request, *, out: str | None = None, force: bool = False) -> None:
    """Print a config, or write it to ``out``; ``force`` replaces an existing file.

    Raises:
        ValueError: as :func:`~kd_plugins.recipes.recipe`; if the file exists or cannot be written.
    """
    text = recipe(request)
    if out is None:
        print(text, end="")
        return
    path = Path(out)
    if path.is_dir():
        raise ValueError(f"--out {out} is a folder; name a file in it, such as {path / 'config.yaml'}")
    if path.exists() and not force:
        raise ValueError(f"--out {out} exists; name another file, or replace it with --force")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"--out {out} cannot be written: {error.strerror}") from error
    print(f"written: {path}")
