"""Files of weights, as dictionaries: torch's and safetensors', told apart by content; what any other file is."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from orl_explorer.train.errors import UserError

HEAD = 512  # bytes of a file that tell what it is
AGAIN = "Copy or download it again."
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch.save wrote first until version 1.6
KERAS = "Convert its weights to a torch state dict."

# What files that are no checkpoints begin with, what they are, and what to do.
BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, without the file itself", "Fetch the file with: git lfs pull."),
    (b"\x89HDF", "an HDF5 file, as Keras writes", KERAS),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it, and add the checkpoint inside."),
    (b"BZh", "compressed with bzip2", "Unpack it, and add the checkpoint inside."),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it, and add the checkpoint inside."),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it, and add the checkpoint inside."),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it, and add the checkpoint inside."),
    (b"Rar!", "a RAR archive", "Unpack it, and add the checkpoint inside."),
    (b"GGUF", "a GGUF file", "Use the checkpoint that it was made from."),
    (b"\x93NUMPY", "an array of numpy", "Use a state dict, saved with torch.save."),
    (b"\xff\xd8\xff", "a picture", "Name the file of the weights."),
    (b"\x89PNG", "a picture", "Name the file of the weights."),
    (b"%PDF", "a PDF document", "Name the file of the weights."),
)
# Files that are known by their names only.
ENDINGS: tuple[tuple[str, str, str], ...] = (
    (".onnx", "an ONNX program", "Use the checkpoint that it was exported from."),
    (".pb", "a TensorFlow file", KERAS),
    (".index", "a TensorFlow file", KERAS),
    (".data-00000-of-00001", "a TensorFlow file", KERAS),
    (".tflite", "a TensorFlow file", KERAS),
    (".msgpack", "a Flax file", "Convert its weights to a torch state dict."),
)
_UNSAFE = re.compile(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)")


def read_content(path: Path) -> dict[str, Any]:
    """Read a file of weights as a dictionary, without running code in it.

    Of a safetensors file, it is made of ``state_dict``, ``supervised`` and, if declared, ``architecture``. Raises
    UserError that says what the file is, if it is anything else.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    return read_safetensors(path) if path.suffix == ".safetensors" or _is_safetensors(head) else read_torch(path)


def read_torch(path: Path) -> dict[str, Any]:
    """Read a torch file as a dictionary, without running code in it. Raises UserError."""
    refuse_foreign(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head[:1] == b"\x80" and not head.startswith(LEGACY):
        raise UserError(
            f"Cannot read {path} safely as a checkpoint: it was written by pickle, and reading it may run code. "
            "Save a state dict with torch: torch.save(model.state_dict(), 'weights.pth')."
        )
    try:
        with warnings.catch_warnings():  # about the age of the file
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises many kinds of errors
        raise UserError(_reason(path, str(error))) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path} is not a checkpoint: it holds a {type(content).__name__}, not a dictionary. "
            "Save a state dict: torch.save(model.state_dict(), 'weights.pth')."
        )
    return content


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read a safetensors file. Raises UserError if it is damaged, or safetensors is not installed."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise UserError(f"Reading {path} needs safetensors: pip install 'orl-explorer[export]'.") from error
    refuse_foreign(path)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
            said = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"Cannot read {path} as a safetensors file: it is truncated or damaged. {AGAIN}") from error
    declared = {name: said[name] for name in ("architecture", "reading") if said.get(name, "null") != "null"}
    trained = {"supervised": said["supervised"] == "true"} if "supervised" in said else {}
    return {"state_dict": state} | trained | declared


def refuse_foreign(path: Path) -> None:
    """Raise UserError if a file is plainly no file of weights that can be read here, with what it is instead."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    found = _foreign(path, head)
    if found is not None:
        what, to_do = found
        raise UserError(f"{path} is not a checkpoint: it is {what}. {to_do}")


def _foreign(path: Path, head: bytes) -> tuple[str, str] | None:
    """Return what a file is and what to do, or None if it may hold weights."""
    if not head:
        return "empty", AGAIN
    if not head.strip(b"\0"):
        return "made of zeros", AGAIN
    for beginning, what, to_do in BEGINNINGS:
        if head.startswith(beginning):
            return what, to_do
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        return "a web page", "Download the file itself, from the link that the page shows."
    if head[4:8] == b"TFL3":
        return "a TensorFlow file", KERAS
    if head[257:262] == b"ustar":
        return "a tar archive", "Unpack it, and add the checkpoint inside."
    if head.startswith(b"PK"):
        return _foreign_zip(path)
    for ending, what, to_do in ENDINGS:
        if path.name.lower().endswith(ending):
            return what, to_do
    if _is_text(head):
        return "a text file", "Name the file of the weights."
    return None


def _foreign_zip(path: Path) -> tuple[str, str] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return "truncated or damaged", AGAIN
    files = {name.partition("/")[2] for name in names}
    if "constants.pkl" in files:
        saved = f"torch.save(torch.jit.load('{path.name}').state_dict(), 'weights.pth')"
        return "a TorchScript program", f"Save its state dict: {saved}."
    if "data.pkl" in files:
        return None
    if "model.weights.h5" in names:
        return "a Keras file", KERAS
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of numpy arrays", "Use a state dict, saved with torch.save."
    return "a zip archive of something else", "Unpack it, and add the checkpoint inside."


def _is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a header, in eight bytes, and the header, in JSON."""
    return len(head) > 9 and head[8:10] in (b'{"', b"{ ", b"{}") and int.from_bytes(head[:8], "little") < 1 << 32


def _is_text(head: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        return all(each.isprintable() or each.isspace() for each in head[: HEAD - 4].decode())
    return False


def _reason(path: Path, said: str) -> str:
    """Return the sentence for a file that torch refuses. said: torch's text, which advises to read it unsafely."""
    found = _UNSAFE.search(said)
    if found is None:
        return f"Cannot read {path} safely as a checkpoint: it is damaged, or it was not written by torch.save. {AGAIN}"
    begin, name = f"Cannot read {path} safely as a checkpoint: it holds", found[1]
    if name.startswith(("torch.nn.", "torchvision.models.", "timm.")):
        return f"{begin} a whole model ({name}). Save its weights alone: torch.save(model.state_dict(), 'weights.pth')."
    return (
        f"{begin} {name} beside its weights, and reading that may run code. Save the state dict alone: "
        "torch.save(checkpoint['state_dict'], 'weights.pth')."
    )


def card_file(file: Path) -> Path:
    """Return the file that describes an exported encoder."""
    return file.with_name(f"{file.name}.json")


def described_training(file: Path) -> str:
    """Return what the weights of an exported file learned from by the description beside it, or ""."""
    try:
        card = json.loads(card_file(file).read_text())
        return str(card["learned_from"]) if card["written_by"].startswith("orl-explorer") else ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ""
