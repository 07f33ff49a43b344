"""The layout: imports point downwards, never in a circle, and a folder holds no more than a person can look over."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "kd_plugins"
# A part may import from those above it in this table.
RANKS = (
    ("_version", "_names", "_stray", "_two_classes"),
    ("_checks",),
    ("_errors", "_tables", "pairs"),
    ("methods",),
    ("transforms", "schedules"),
    ("losses", "modules", "metrics"),
    ("models", "data"),
    ("statistics",),
    ("host",),
    ("entries", "methods_table"),
    ("registry",),
    ("runtime",),
    ("config",),
    ("fitting", "synthesis"),
    ("training", "recipes"),
    ("analysis", "reports", "bench"),
    ("check", "sweep"),
    ("demo",),
    ("cli",),
    ("__init__", "__main__"),
)
LAYERS = {part: rank for rank, parts in enumerate(RANKS) for part in parts}
FLAT = 12
CATALOGUES = ("losses", "methods", "kinds")
"""Folders whose files are all of one kind; files that begin with an underscore are shared by the others."""
HOST_LAYER = LAYERS["host"]
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported_modules(path: Path):
    """Yield the absolute name of every module that a file imports, wherever the import stands."""
    package = ["kd_plugins", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield module
            if module == "kd_plugins":
                yield from (f"kd_plugins.{alias.name}" for alias in node.names)


def test_every_part_has_a_layer():
    assert not {part_of(path) for path in FILES} - LAYERS.keys(), "put it in the table above"


def test_imports_point_downwards():
    wrong = [
        f"{path.name} ({part_of(path)}) imports {module}"
        for path in FILES
        for module in imported_modules(path)
        if module.startswith("kd_plugins.")
        and (target := module.split(".")[1]) not in (part_of(path), "__version__")
        and LAYERS[target] >= LAYERS[part_of(path)]
    ]
    assert not wrong


def test_only_the_host_and_above_know_torchdistill():
    below = [path for path in FILES if LAYERS[part_of(path)] < HOST_LAYER]
    assert not [path for path in below if any(m.split(".")[0] == "torchdistill" for m in imported_modules(path))]


def module_of(path: Path) -> str:
    return ".".join(["kd_plugins", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def test_no_circle_of_imports():
    modules = {module_of(path): path for path in FILES}
    # `from .package import module` and `from .module import name` are both met.
    imports = {name: set(imported_files(path, modules)) - {name} for name, path in modules.items()}
    while leaves := [name for name, needed in imports.items() if not needed & set(imports)]:
        for name in leaves:
            del imports[name]
    assert not imports, f"these files import each other: {sorted(imports)}"


def imported_files(path: Path, modules):
    package = ["kd_plugins", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            for name in (f"{base}.{alias.name}" for alias in node.names):
                yield name if name in modules else base


def test_no_folder_is_flat_beyond_a_dozen_files():
    for folder in {path.parent for path in FILES}:
        files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= FLAT or folder.name in CATALOGUES, f"{folder}: {len(files)} files; split it"


def test_no_file_is_longer_than_300_lines():
    assert not [path for path in FILES if len(path.read_text().splitlines()) > 300]
