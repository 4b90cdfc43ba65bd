"""Stage 2 for two photos, with any encoder and without a workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import PIL.Image

from orl_explorer.db.models import Image
from orl_explorer.orl.matching import cosines
from orl_explorer.orl.opening import as_rgb, decoding
from orl_explorer.orl.pixels import UnreadableImage, read_image
from orl_explorer.orl.reading import PLAIN, Reading
from orl_explorer.orl.selective_search.proposals import selective_search
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.candidates import Candidates, candidates, describe, match, with_map
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.settings import preset_named, with_settings

if TYPE_CHECKING:
    from orl_explorer.app.api.drawing import PairFigure
    from orl_explorer.orl.encoder import EncoderNetwork

Photo = str | Path | PIL.Image.Image | np.ndarray
Embed = Callable[[np.ndarray], np.ndarray]  # uint8 [B, 224, 224, 3] RGB crops -> float [B, C] features

BATCH = 8  # crops a forward pass


@dataclass(frozen=True)
class PhotoMatch:
    """The RoIs of two photos and their pairs.

    photos: the query photo and the key photo.
    titles: their file names, or ``query`` and ``key``.
    query_rois: int16 [B_q, 4], x y w h, pixels of the query photo.
    key_rois: int16 [B_k, 4], likewise for the key photo.
    similarity: float32 [B_q, B_k], cosine of each query RoI and each key RoI.
    pairs: best first. The columns query and key are row numbers of ``query_rois`` and ``key_rois``. The others are
    similarity, margin (similarity minus that of the next best key RoI), cycle (whether the query RoI is also the most
    similar one to the key RoI), and x, y, w, h of both boxes.
    """

    photos: tuple[PIL.Image.Image, PIL.Image.Image]
    titles: tuple[str, str]
    query_rois: np.ndarray
    key_rois: np.ndarray
    similarity: np.ndarray
    pairs: pd.DataFrame

    def draw(self, most: int = 8) -> PairFigure:
        """Draw the best pairs. most: maximum number of pairs."""
        from orl_explorer.app.api.drawing import draw

        shown = self.pairs.head(most)
        boxes = self.query_rois[shown["query"]].tolist(), self.key_rois[shown["key"]].tolist()
        return draw(self.photos, self.titles, *boxes, shown["similarity"].tolist())


def match_photos(
    query: Photo,
    key: Photo,
    encoder: str | Path | Embed = "starter",
    *,
    part: str = "",
    preset: str = "paper",
    seed: int = 0,
    **settings: Any,
) -> PhotoMatch:
    """Find the RoIs of two photos and match them, as mining does for a photo and its neighbour. Nothing is stored.

    Args:
        query: First photo: a file, a PIL image, or uint8 [H, W, 3] RGB.
        key: Second photo, in one of the same forms.
        encoder: ``starter`` or any other source of ``orl encoders add``, such as the path of a checkpoint, or a
            function that takes RGB crops, uint8 [B, 224, 224, 3], and returns their features, float [B, C].
        part: Name of the network to read from a checkpoint that holds several.
        preset: ``paper`` (published settings) or ``object`` (pairs of RoIs that are likely to hold objects).
        seed: Seed of the order of proposals.
        **settings: Settings that differ from the preset, such as ``pair_ratio=0.2``.

    Raises UserError if a photo or the encoder cannot be used.
    """
    config = with_settings(preset_named(MINE_PRESETS, preset), settings)
    if not config.searches and not config.maps_boxes:
        raise UserError(
            f"Invalid value for proposals: {config.proposals}. Without a workspace, use search, map or search+map."
        )
    network: EncoderNetwork | None = None
    if callable(encoder):
        if part:
            raise UserError(f"Invalid value for part: {part}. A function is one network.")
        embed: Embed = encoder
    else:
        network = _network(str(encoder), part, config)
        embed = network.embed_rois
    if network is None and config.needs_objectness:
        raise UserError("A function has no attention map, so objectness cannot be computed. Use the preset paper.")
    if network is None and config.maps_boxes:
        raise UserError("A function has no map, so it shows no boxes. Use proposals=search.")
    reading = network.reading if network else PLAIN
    photos = _decoded(query), _decoded(key)
    sides = []
    for photo in photos:
        found = _candidates(photo, network, config, seed)
        features = _embedded(photo, found.filtered.boxes, embed, reading)
        sides.append(
            (found.filtered.boxes, describe(features, found.filtered.boxes, photo.size, found.objectness, config))
        )
    (query_rois, own), (key_rois, other) = sides
    pairs = match(own, other, config, nearest=True)
    columns: dict[str, np.ndarray] = {"query": pairs.query, "key": pairs.key, "similarity": pairs.similarity}
    columns |= {"margin": pairs.margin, "cycle": pairs.cycle}
    for side, boxes in (("query", query_rois[pairs.query]), ("key", key_rois[pairs.key])):
        columns |= {f"{side}_{name}": boxes[:, number] for number, name in enumerate("xywh")}
    similarity = cosines(own.features, other.features)
    titles = _title(query, "query"), _title(key, "key")
    return PhotoMatch(photos, titles, query_rois, key_rois, similarity, pd.DataFrame(columns))


def _candidates(photo: PIL.Image.Image, network: EncoderNetwork | None, config: MineConfig, seed: int) -> Candidates:
    """Return the candidates of a photo. network: None if the settings need neither objectness nor the map."""
    attention = row = None
    if network and (config.needs_objectness or config.maps_boxes):
        whole = network.reading.whole(photo)[None]
        attention = network.attention(whole)[0] if config.needs_objectness else None
        row = network.map_boxes(whole)[0] if config.maps_boxes else None
    image, raw = Image(width=photo.width, height=photo.height), np.empty((0, 4), np.int16)
    if config.searches:
        raw = selective_search(np.asarray(photo), seed, config.proposal_scale, config.segment_size)
    return candidates(image, with_map(raw, row, image), config, attention)


def _network(source: str, part: str, config: MineConfig) -> EncoderNetwork:
    from orl_explorer.train.encoders.weights import embedder, weights_from

    return embedder(weights_from(source, part=part), precision=config.precision)


def _decoded(photo: Photo) -> PIL.Image.Image:
    try:
        match photo:
            case str() | Path():
                return read_image(Path(photo).expanduser())
            case PIL.Image.Image():
                with decoding():
                    return as_rgb(photo, photo.format)
            case np.ndarray(dtype=np.uint8, ndim=3) if photo.shape[2] == 3:
                return PIL.Image.fromarray(photo)
    except UnreadableImage as error:
        raise UserError(f"Cannot read {photo}: {error}.") from error
    raise UserError("A photo is a file, a PIL image, or an array uint8 [H, W, 3] of RGB.")


def _embedded(photo: PIL.Image.Image, boxes: np.ndarray, embed: Embed, reading: Reading) -> np.ndarray:
    """Return the features of a photo's boxes, float32 [B, C], unit rows."""
    parts = []
    for start in range(0, len(boxes), BATCH):
        crops = np.stack([reading.crop(photo, box) for box in boxes[start : start + BATCH]])
        found = np.asarray(embed(crops), np.float32)
        if found.ndim != 2 or len(found) != len(crops):
            raise UserError(f"The encoder returned an array of shape {found.shape} for {len(crops)} crops; use [B, C].")
        if not np.isfinite(found).all():
            raise UserError("The encoder returned features that are not finite numbers. Use another encoder.")
        parts.append(found)
    features = np.concatenate(parts)
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)


def _title(photo: Photo, otherwise: str) -> str:
    return Path(photo).name if isinstance(photo, str | Path) else otherwise
