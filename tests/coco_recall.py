"""Average recall by COCO's evaluator, the anchor of ours."""

from __future__ import annotations

import contextlib
import io

import numpy as np


def cocos_recall(
    start: np.ndarray, boxes: np.ndarray, object_start: np.ndarray, objects: np.ndarray, crowd: np.ndarray
) -> tuple[float, float, float]:
    """Return AR@1, AR@10 and AR@100 without classes. Photo i has the boxes ``start[i]:start[i + 1]``, best first."""
    from faster_coco_eval import COCO, COCOeval_faster

    images = len(start) - 1
    of_object, of_box = (np.repeat(np.arange(images), np.diff(ends)) for ends in (object_start, start))
    truth = COCO()
    shared = {"images": [{"id": i, "width": 999, "height": 999} for i in range(images)], "categories": [{"id": 1}]}
    truth.dataset = shared | {
        "annotations": [
            {"id": n + 1, "image_id": int(i), "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": int(c)}
            for n, (i, box, c) in enumerate(zip(of_object, objects.tolist(), crowd, strict=True))
        ]
    }
    rank = np.arange(len(boxes)) - start[of_box]
    results = [
        {"image_id": int(i), "category_id": 1, "bbox": box, "score": 1 - int(r) / 1000}
        for i, box, r in zip(of_box, boxes.astype(float).tolist(), rank, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes(results)
        judge = COCOeval_faster(truth, found, "bbox")
        judge.params.useCats, judge.params.maxDets = 0, [1, 10, 100]
        judge.evaluate()
        judge.accumulate()
    recall = judge.eval["recall"][:, 0, 0, :].mean(axis=0)  # thresholds, one class, all areas, boxes
    return float(recall[0]), float(recall[1]), float(recall[2])
