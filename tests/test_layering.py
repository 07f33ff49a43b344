"""The layout: imports point downwards, never in a circle, and a folder holds no more than a person can look over."""

import ast
from pathlib import Path

import pytest

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


def imported_modules(path: Path):
    """Yield the absolute name of every module that a file imports, wherever the import stands."""
    package = ["kd_plugins", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield module
            if module == "kd_plugins":
                yield from (f"kd_plugins.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    part = part_of(path)
    assert part in LAYERS, f"{part} has no layer: put it in the table above"
    for module in imported_modules(path):
        if module.split(".")[0] != "kd_plugins" or module == "kd_plugins":
            continue
        target = module.split(".")[1]
        if target == part or target == "__version__":
            continue
        assert LAYERS[target] < LAYERS[part], f"{path.name} ({part}) imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_host_and_above_know_torchdistill(path):
    if LAYERS[part_of(path)] < HOST_LAYER:
        assert not [m for m in imported_modules(path) if m.split(".")[0] == "torchdistill"]


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
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            for name in (f"{base}.{alias.name}" for alias in node.names):
                yield name if name in modules else base


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_folder_is_flat_beyond_a_dozen_files(folder):
    files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= FLAT or folder.name in CATALOGUES, f"{len(files)} files: what second idea moved in?"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300
