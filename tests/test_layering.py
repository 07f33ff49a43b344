"""The direction of imports: a file imports only from lower layers and from inside its own folder."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "kd_plugins"
LAYERS = {
    "_version": 0,
    "_names": -1,
    "_stray": -1,
    "_inside": -1,
    "_loading": 0,
    "_two_classes": -1,
    "_checks": 0,
    "_tables": 0,
    "recipes": 1,
    "schedules": 1,
    "transforms": 1,
    "losses": 2,
    "metrics": 2,
    "modules": 2,
    "models": 3,
    "data": 3,
    "statistics": 3,
    "host": 4,
    "registry": 5,
    "engine": 6,
    "bench": 7,
    "demo": 7,
    "check": 8,
    "cli": 9,
    "__main__": 10,
    "__init__": 10,
}
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
