"""BYOL with multi-crop views: two of full size and four small ones (Table 5c)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from orl_explorer.orl.bootstrap import IMAGES, Bootstrap, regression_loss
from orl_explorer.orl.grouped_norm import in_one_pass
from orl_explorer.orl.heads import HIDDEN, PROJECTION, mlp
from orl_explorer.orl.method import Terms
from orl_explorer.orl.views import Pipeline, View

# Areas of the crops as in SwAV, which the table refers to; the local pipeline's blur lies between those of the two.
GLOBAL, LOCAL = (0.14, 1.0), (0.05, 0.14)
LOCAL_PIPELINE = Pipeline(blur=0.5, solarize=0.0, scale=LOCAL)


class MultiCropBYOL(Bootstrap):
    """Multi-crop BYOL: every view predicts the target's projection of each other global view."""

    def __init__(
        self,
        architecture: str,
        hidden: int = HIDDEN,
        projection: int = PROJECTION,
        momentum: float = 0.99,
        local_size: int = 96,
        local_crops: int = 4,
    ) -> None:
        """Build both networks. local_size: side of a small view, in pixels. local_crops: number of small views."""
        super().__init__(architecture, hidden, projection, momentum)
        self.local_size, self.local_crops = local_size, local_crops
        self.predictor = mlp(projection, hidden, projection)

    def views(self, size: int) -> tuple[View, ...]:
        """Return two global crops, one through each of BYOL's pipelines, then the local crops."""
        whole = tuple(replace(v, pipeline=replace(v.pipeline, scale=GLOBAL)) for v in super().views(size))
        numbers = range(1, self.local_crops + 1)
        return whole + tuple(View(f"local_{i}", LOCAL_PIPELINE, self.local_size) for i in numbers)

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return two terms, each about 4 at the start times its share of the directions.

        views: image_1, image_2, local_1, …. V views give 2 V - 2 directions. Twice their mean, as in BYOL, is split
        into the directions from global views (``image``) and from local views (``local``).
        """
        projected, target = self.both(views, IMAGES)
        predictions = in_one_pass(self.predictor, list(projected.values()))
        directions: dict[str, list[Tensor]] = {"image": [], "local": []}
        for name, prediction in zip(projected, predictions, strict=True):
            kind = "image" if name in target else "local"
            directions[kind] += [regression_loss(prediction, t) for of, t in target.items() if of != name]
        count = sum(map(len, directions.values()))
        terms = {kind: 2 / count * torch.stack(losses).sum() for kind, losses in directions.items() if losses}
        return terms, projected["image_1"]
