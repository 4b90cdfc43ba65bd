"""Match RoIs by their crops, by the photo's map pooled in their boxes, and by both, against annotations.

    python research/matched_by_map.py --workspace DIR --dataset voc07 --encoder starter --only train.txt

The dataset must have been mined once with the encoder, the preset ``object`` and the precision. The map is that of the
whole photo at the size of its attention map, which the preset computes anyway; it is pooled by RoIAlign. Similarity is
a weighted mean of the two cosines. There is no minimum worth. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from orl_explorer.db.encoders import encoder_named
from orl_explorer.orl.matching import cosines
from orl_explorer.train.mining.config import MINE_PRESETS, NO_MINIMUM
from orl_explorer.train.mining.features import AttentionMaps, Boxes, BoxFeatures, Features, MapBoxes
from orl_explorer.train.mining.sample import Sample, draw_sample
from orl_explorer.train.mining.trial import Trial
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace, open_workspace

WEIGHTS = {"crop": 0.0, "map": 1.0, "both": 0.5, "both, ¼ map": 0.25}  # of the map's cosine
PLAIN = {"min_worth": NO_MINIMUM, "cover_photo": False}  # a minimum would mean another number of pairs for each way
OBJECT = (0.1, 0.2)  # λ
MEASURES = {
    "pairs": ("pairs_per_image", 1, ""),
    "distinct": ("distinct_pairs_per_image", 1, ""),
    "query is object": ("query_is_object", 100, " %"),
    "same class": ("same_class", 100, " %"),
    "without person": ("same_class_no_person", 100, " %"),
    "area used": ("area_coverage", 100, " %"),
}


class MapFeatures:
    """Features of boxes from the map of their whole photo, one forward pass for each photo."""

    def __init__(self, features: Features, photos: Photos) -> None:
        self._features, self._photos = features, photos
        self._made: dict[tuple[int, bytes], np.ndarray] = {}

    def get(self, some: Boxes) -> np.ndarray:
        """Return features of the boxes, float32 [B, C], unit rows."""
        key = some.image.id, some.boxes.tobytes()
        if key not in self._made:
            photo = self._photos.read(some.image)
            pixels = self._features.reading.whole(photo)
            scale = np.tile([pixels.shape[1] / photo.width, pixels.shape[0] / photo.height], 2)
            self._made[key] = self._features.encoder.pool_boxes(pixels, some.boxes * scale)
        return self._made[key]


class MixedTrial(Trial):
    """A trial in which similarity is a mean of two cosines."""

    def __init__(self, workspace: Workspace, sample: Sample, features: Features, maps: MapFeatures) -> None:
        photos = Photos.of(workspace.store, sample.dataset.id)
        from_maps = AttentionMaps(features, photos), MapBoxes(features, photos)
        super().__init__(workspace, sample, BoxFeatures(features, photos), *from_maps)
        self._maps, self.weight = maps, 0.0

    def _cosines(self, own: Boxes, other: Boxes) -> np.ndarray:
        crop = super()._cosines(own, other)
        return crop + self.weight * (cosines(self._maps.get(own), self._maps.get(other)) - crop)


def main() -> None:
    """Measure every way of matching and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--encoder", default="starter")
    parser.add_argument("--precision", default="fp32-onnx")
    parser.add_argument("--only", type=Path, help="file that lists the photos to draw queries from")
    parser.add_argument("--sample", type=int, default=1000)
    arguments = parser.parse_args()
    workspace = open_workspace(arguments.workspace)
    base = MINE_PRESETS["object"].model_copy(update={"precision": arguments.precision, "pair_ratio": 0.5} | PLAIN)
    features = Features(workspace, encoder_named(workspace.store, arguments.encoder), precision=base.precision)
    names = arguments.only.read_text().split() if arguments.only else None
    sample = draw_sample(workspace, arguments.dataset, features, base.neighbors, arguments.sample, 0, names)
    maps = MapFeatures(features, Photos.of(workspace.store, sample.dataset.id))
    print("|", " | ".join(["matched by", "λ", *MEASURES]), "|\n" + "|---" * (len(MEASURES) + 2) + "|")
    for name, weight in WEIGHTS.items():
        trial = MixedTrial(workspace, sample, features, maps)
        trial.weight = weight
        configs = [base.model_copy(update={"object_weight": weighed}) for weighed in OBJECT]
        for config, found in zip(configs, trial.find_all(configs, embed=True), strict=True):
            shown = [f"{times * found.measures[m]:.1f}{unit}" for m, times, unit in MEASURES.values()]
            print("|", " | ".join([name, f"{config.object_weight:g}", *shown]), "|", flush=True)


if __name__ == "__main__":
    main()
