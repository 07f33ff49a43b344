"""Recognition of files that are not checkpoints, by their first bytes or the members of their archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

HEAD = 512
ZIP = b"PK\x03\x04"
# First bytes of a file, what kind it is, and what to do about it.
BEGINNINGS = (
    (
        b"version https://git-lfs.github.com/spec",
        "is a Git LFS pointer without the weights: run `git lfs pull` in its repository, or download the file itself",
    ),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (b"BZh", "is compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz: unpack it first"),
    (b"7z\xbc\xaf", "is a 7-Zip archive: unpack it first"),
    (b"Rar!", "is a RAR archive: unpack it first"),
    (b"\x89HDF", "is an HDF5 file, as written by Keras: only PyTorch weights can be loaded"),
    (b"\x93NUMPY", "is a NumPy array: only PyTorch weights can be loaded"),
)
WEB_PAGE = (
    "is a web page, not the weights: download the file itself (on GitHub the `raw` link, on Hugging Face `resolve` "
    "instead of `blob` in the address); the page may also ask for a login"
)
ONNX = "is an ONNX graph, whose weights have other names: use the PyTorch weights that it was exported from"


def foreign_kind(file: Path) -> str | None:
    """Return a file's kind and what to do about it, or None if it may be a checkpoint."""
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    if not head:
        return "is empty; was its download or saving cut short?"
    for beginning, kind in BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return WEB_PAGE
    # ONNX: a protocol buffer whose first two fields are the IR version and the producer's name.
    if file.suffix == ".onnx" or (head[:1] == b"\x08" and head[2:3] == b"\x12"):
        return ONNX
    return _foreign_archive(file) if head.startswith(ZIP) else None


def is_safetensors(file: Path) -> bool:
    """Return whether a file begins like safetensors: a header length, then a JSON object of that length."""
    with file.open("rb") as stream:
        head = stream.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= file.stat().st_size - 8


def _foreign_archive(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.namelist()
    except Exception:
        return None  # a damaged archive; torch.load reports how
    inside = {name.partition("/")[2] for name in members}
    if "constants.pkl" in inside:
        return (
            "is a TorchScript program from torch.jit.save. If you trust its source, convert it once "
            f"with `m = torch.jit.load({str(file)!r}, map_location='cpu'); torch.save(m.state_dict(), 'weights.pth')` "
            "and give weights.pth"
        )
    if "archive_format" in inside:
        return (
            "is an exported program from torch.export.save. If you trust its source, convert it once with `p = "
            f"torch.export.load({str(file)!r}); torch.save(dict(p.state_dict), 'weights.pth')` and give weights.pth"
        )
    if "data.pkl" in inside:
        return None
    if members and all(name.endswith(".npy") for name in members):
        return "is an archive of NumPy arrays: only PyTorch weights can be loaded"
    held = ", ".join(members[:3]) or "nothing"
    unpack = "unpack it and use the file with the weights"
    return f"is a zip archive that torch.save did not write; it holds {held}: {unpack}"
