"""Real photos in the two layouts that they come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.ingest import ingest
from train.workspace import Workspace

pytestmark = pytest.mark.photos


@pytest.mark.parametrize(
    ("folder", "layout", "images", "objects"),
    [("VOCdevkit/VOC2007", "voc", 915, 2837), ("coco", "coco", 219, 1834)],
)
def test_real_photos_are_read_with_all_their_objects(
    workspace: Workspace, photos: Path, folder: str, layout: str, images: int, objects: int
) -> None:
    found = ingest(workspace, photos / folder)
    assert found.dataset.layout == layout
    assert (found.dataset.image_count, found.dataset.unreadable_count) == (images, 0)
    assert found.dataset.annotation_count == objects
    assert found.new == images
