"""Whatever an annotation file holds: boxes inside the photo, or a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.annotated import boxes_as_shown
from orl_explorer.train.ingest.coco import read_coco
from orl_explorer.train.ingest.findings import Findings
from orl_explorer.train.ingest.voc import read_voc
from tests.train.ingest.written import CAT, HEIGHT, WIDTH, coco, voc, write

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda each: st.lists(each, max_size=5) | st.dictionaries(st.text(max_size=4), each, max_size=3),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "image_id": JSON | st.just(1),
        "category_id": JSON | st.just(1),
        "bbox": JSON | st.lists(st.integers(-300, 300) | st.floats(), min_size=4, max_size=4),
        "segmentation": JSON | st.lists(st.lists(st.floats(), max_size=8), max_size=2),
        "iscrowd": JSON,
    },
)
SHAPED = st.fixed_dictionaries(
    {"images": JSON | st.just(coco()["images"])},
    optional={"annotations": JSON | st.lists(ENTRY, max_size=4), "categories": JSON | st.just(CAT)},
)


@settings(max_examples=150, deadline=None)
@given(content=SHAPED | JSON, orientation=st.integers(1, 8))
def test_any_json_gives_boxes_inside_the_photo_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: object, orientation: int
) -> None:
    file = write(tmp_path_factory.getbasetemp() / "any" / "i.json", content)
    try:
        photos = read_coco(file, Findings())
    except UserError as error:
        assert "is not a COCO annotation file" in str(error)
        return
    for annotated in photos.values():
        for box in boxes_as_shown(annotated, orientation, WIDTH, HEIGHT)[0]:
            assert 0 <= box.x < box.x + box.w <= WIDTH
            assert 0 <= box.y < box.y + box.h <= HEIGHT


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_give_a_sentence(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any-bytes"
    file.write_bytes(raw)
    for read in (read_coco, read_voc):
        with pytest.raises(UserError):
            read(file)


@settings(max_examples=100, deadline=None)
@given(corners=st.lists(st.floats().map(str) | st.integers().map(str) | st.just("x"), min_size=4, max_size=4))
def test_any_corners_give_boxes_inside_the_photo(tmp_path_factory: pytest.TempPathFactory, corners: list[str]) -> None:
    file = write(tmp_path_factory.getbasetemp() / "any" / "a.xml", voc(" ".join(corners)))
    for box in boxes_as_shown(read_voc(file), 1, WIDTH, HEIGHT)[0]:
        assert 0 <= box.x < box.x + box.w <= WIDTH
        assert 0 <= box.y < box.y + box.h <= HEIGHT
