"""Disks that are reached over a network, where SQLite does not work for several machines."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # of Linux
NETWORK = re.compile(
    r"(nfs|cifs|smb|9p|afs|ceph|lustre|gpfs|beegfs|orangefs|ocfs2|gfs2)\w*"
    r"|fuse\.(sshfs|rclone|s3fs|gcsfuse|glusterfs|ceph\w*|juicefs|moosefs|mfs\w*|davfs\w*|goofys|blobfuse\w*)"
)


class NetworkDisk(UserWarning):
    """A workspace with a SQLite store is on a network disk."""


def file_system(folder: Path) -> str:
    """Return the name of the file system that holds a folder, or "" if the system does not tell."""
    lines = MOUNTS.read_text(errors="replace").splitlines() if MOUNTS.is_file() else []
    kinds: dict[Path, str] = {}
    for line in lines:
        mount, _, source = line.partition(" - ")
        if len(fields := mount.split()) > 4 and source:
            kinds[Path(_unescaped(fields[4]))] = source.split()[0]  # a later mount hides an earlier one
    real = folder.absolute().resolve()
    return next((kinds[path] for path in (real, *real.parents) if path in kinds), "")


def network_disk(folder: Path) -> str:
    """Return the name of the network's file system that holds a folder, or "" if the disk is of this machine."""
    kind = file_system(folder)
    return kind if NETWORK.fullmatch(kind) else ""


def warn_of_network_disk(folder: Path) -> None:
    """Warn the caller's caller if the SQLite file of a workspace is on a network disk: it works for one machine."""
    if kind := network_disk(folder):
        warnings.warn(
            f"{folder} is on a network disk ({kind}). SQLite works there for one machine at a time: two would miss or "
            "damage each other's changes. For several machines, run `orl workspace copy --to postgresql+psycopg://…`.",
            NetworkDisk,
            stacklevel=3,
        )


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
