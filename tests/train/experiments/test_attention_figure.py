"""The figure of attention maps: its drawing, its texts and its formats."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.store import StoreError
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.experiments.attention_figure import FigureColumn, attention_figure, maps_figure, overlay
from orl_explorer.train.figures import save_figure
from orl_explorer.train.workspace import Workspace, open_workspace

TURNED = 6  # EXIF: to be shown turned by a quarter, clockwise


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a supervised and a random encoder."""
    made = open_workspace(tmp_path_factory.mktemp("figure") / "workspace")
    weights.add(made, "starter", "starter")
    weights.add(made, "random:resnet18", "chance")
    return made


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo stored as 160 x 96 whose EXIF rotates it to 96 x 160."""
    path = tmp_path_factory.mktemp("photo") / "turned.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = TURNED
    Image.fromarray(pixels).resize((160, 96), Image.Resampling.NEAREST).save(path, exif=exif)
    return path


def words(svg: Path) -> str:
    """Return the texts of an SVG."""
    return " ".join("".join(e.itertext()).strip() for e in ElementTree.parse(svg).iter() if e.tag.endswith("text"))


def pictures(drawn) -> list[np.ndarray]:  # type: ignore[no-untyped-def]
    """Return the pixels of every photo and map in a figure, row by row."""
    return [np.asarray(image.get_array()) for axes in drawn.axes for image in axes.get_images()]


def test_every_photo_is_a_row_of_itself_and_one_map_for_each_encoder_upright(known: Workspace, photo: Path) -> None:
    drawn = attention_figure(known, [photo, photo], ["starter", "chance"])
    shown = pictures(drawn)
    assert [pixels.shape for pixels in shown] == [(160, 96, 3)] * 6
    assert not np.array_equal(shown[1], shown[2])  # two encoders, two maps


def test_method_colours_and_labels_are_named(known: Workspace, photo: Path, tmp_path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        save_figure(attention_figure(known, [photo], ["starter", "chance"], "cosine"), tmp_path / "figure.svg")
    said = words(tmp_path / "figure.svg")
    for expected in ("photo", "starter", "(trained with labels)", "chance", "(random weights)", "cosine of every"):
        assert expected in said
    assert "inferno" in said


def test_a_map_lies_over_its_photo_in_grey() -> None:
    photo = Image.new("RGB", (4, 2), (100, 100, 100))
    drawn = overlay(photo, np.zeros((1, 2)))
    # inferno begins at (0.001, 0.000, 0.014): 0.65 of that in 255ths, and 35 of the grey
    assert drawn[0, 0].tolist() == [35, 35, 37]
    assert drawn.shape == (2, 4, 3)
    assert overlay(photo, np.ones((1, 2)))[0, 0].tolist() == [199, 200, 142]  # and ends at (0.988, 0.998, 0.645)


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_the_same_figure_gives_the_same_file(tmp_path: Path, suffix: str, begins: bytes) -> None:
    photo = Image.new("RGB", (30, 20), (10, 200, 30))
    for name in ("one", "two"):
        save_figure(
            maps_figure([photo], [FigureColumn("an encoder", [np.eye(2)])], "activation"),
            tmp_path / f"{name}{suffix}",
        )
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert first.startswith(begins)
    assert first == second


def test_the_random_encoder_is_the_same_each_time_and_leaves_the_generator_alone(known: Workspace) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = weights.random_weights("resnet18")
    assert torch.equal(torch.rand(1), expected)
    assert weights.digest(again) == encoder_named(known.store, "chance").weights_sha256


def test_mistakes_are_told_in_a_sentence(known: Workspace, photo: Path, tmp_path: Path) -> None:
    drawn = maps_figure([Image.new("RGB", (8, 8))], [FigureColumn("an encoder", [np.eye(2)])], "cosine")
    with pytest.raises(UserError, match=r"figure.gif. Use .png, .svg or .pdf as its ending\."):
        save_figure(drawn, tmp_path / "figure.gif")
    with pytest.raises(UserError, match="There is no file .*gone.jpg."):
        attention_figure(known, [tmp_path / "gone.jpg"], ["starter"])
    with pytest.raises(
        UserError, match="Cannot draw the encoder 'starter'. The encoder has no class token. Use the map"
    ):
        attention_figure(known, [photo], ["starter"], "class")
    with pytest.raises(UserError, match="There is no map 'gradcam'. Known maps: activation, class, cosine"):
        attention_figure(known, [photo], ["starter"], "gradcam")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="There is no encoder 'orl'"):
        attention_figure(known, [photo], ["orl"])
    with pytest.raises(UserError, match="Cannot write .*: File exists"):
        save_figure(drawn, photo / "figure.png")
