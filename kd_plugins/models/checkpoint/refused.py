"""Messages for pickles that torch cannot load without running code."""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch

from .content import preferred, state_dicts
from .kinds import ZIP

MAGIC = 0x1950A86A20F9469CFC6C
"""The first number in a file of torch.save's old format, before zip archives."""
PICKLES = 5  # number of consecutive pickles in such a file
# Modules and functions that no checkpoint needs and that can run arbitrary code.
DANGEROUS = re.compile(
    r"(code|codeop|commands|ctypes|importlib|multiprocessing|nt|os|pickle|platform|posix|pty|pydoc|runpy|shutil|signal"
    r"|socket|subprocess|sys|tempfile|threading|timeit|urllib|webbrowser"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|getattr|setattr|delattr|open|input|breakpoint|globals"
    r"|__import__|apply)|operator\.(attrgetter|methodcaller)|torch\.(hub|utils\.cpp_extension|load|compile))(\..*)?"
)


@dataclass
class Scan:
    """Facts about a pickle, found without running it."""

    names: list[str] = field(default_factory=list)  # of the functions and classes that it imports
    by_torch: bool = False  # whether torch.save wrote it
    complete: bool = False  # whether its (first) pickle is


class StandIn:
    """Stand-in for every class and function that a pickle imports; it does nothing."""

    state: Any = None

    def __new__(cls, *_args: Any, **_kwargs: Any) -> StandIn:  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @property
    def is_module(self) -> bool:
        """Whether it stands for a pickled ``nn.Module``."""
        return isinstance(self.state, Mapping) and "_modules" in self.state


def refusal(file: Path, error: Exception) -> str | None:
    """Return why torch refused a file, by its error, and what to do about it; None if the file is only damaged."""
    found = scan(file)
    dangerous = [name for name in found.names if DANGEROUS.fullmatch(name)]
    if dangerous:
        return (
            f"would run code when it is loaded ({', '.join(dangerous[:3])}): refused, nothing was executed. Weights "
            "need no such code: do not load this file in another way unless you trust its author"
        )
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted:
        reason = f"asks for {wanted[1]}"
    elif not found.complete:
        return None
    elif not found.by_torch:
        reason = "is a pickle that torch.save did not write"
    elif "Unsupported operand" in str(error):
        reason = "is written in a pickle protocol that torch reads only in full"
    else:
        return None
    return (
        f"{reason}, and loading it could run code from the file: refused, nothing was executed. If you trust its "
        f"source, {_advice(file, found)}"
    )


def scan(file: Path) -> Scan:
    """Read the opcodes of a pickle, or of the one in a torch.save archive, without executing them."""
    found = Scan()
    try:
        with file.open("rb") as stream:
            if stream.read(len(ZIP)) == ZIP:
                with zipfile.ZipFile(file) as archive:
                    inside = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                    found.by_torch = True
                    _scan(BytesIO(archive.read(inside)), found)
            else:
                stream.seek(0)
                for _ in range(PICKLES):
                    _scan(stream, found)
                    if not found.by_torch:
                        break
    except Exception:
        return found  # stop at the first invalid opcode
    return found


def _scan(stream: IO[bytes], found: Scan) -> None:
    texts: list[Any] = []  # values on the stack; STACK_GLOBAL takes module and name from there
    memo: dict[int, Any] = {}
    operation: pickletools.OpcodeInfo
    argument: Any
    for operation, argument, _ in pickletools.genops(stream):
        name = operation.name
        if name in ("GLOBAL", "INST"):
            found.names.append(argument.replace(" ", ".", 1))
        elif name == "STACK_GLOBAL":
            found.names.append(".".join(map(str, texts[-2:])))
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else argument] = texts[-1] if texts else None
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            texts.append(memo.get(argument))
        elif name.startswith("LONG") and argument == MAGIC:
            found.by_torch = True
        else:
            texts.append(argument)
    found.complete = True


def _advice(file: Path, found: Scan) -> str:
    """Return how to convert the file, with the place of the weights if it can be found."""
    opening = f"d = torch.load({str(file)!r}, map_location='cpu', weights_only=False)"
    if not found.by_torch:
        opening = f"import pathlib, pickle; d = pickle.loads(pathlib.Path({str(file)!r}).read_bytes())"
    weights = _place(_look_inside(file, found.names)) if found.by_torch else None
    if weights:
        return f"convert it once with `{opening}; torch.save({weights}, 'weights.pth')` and give weights.pth"
    return (
        f"see what it holds with `{opening}; print(d.keys() if isinstance(d, dict) else type(d))`, save the state dict "
        "in it with `torch.save(..., 'weights.pth')` and give weights.pth"
    )


def _look_inside(file: Path, names: list[str]) -> Any:
    """Load a file with stand-ins for all its imports; None if that fails."""
    try:
        stand_ins: list[Any] = [(StandIn, name) for name in names]
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception:
        return None


def _place(found: Any) -> str | None:
    """Return the expression for the state dict in ``d``, if there is one."""
    if isinstance(found, StandIn):
        return "d.state_dict()" if found.is_module else None
    several = list(state_dicts(found))
    if several:
        return f"d{preferred(several).place}"
    values = found.items() if isinstance(found, Mapping) else ()
    models = [key for key, value in values if isinstance(value, StandIn) and value.is_module]
    return f"d[{models[0]!r}].state_dict()" if models else None
