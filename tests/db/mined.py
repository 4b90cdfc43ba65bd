"""Small stores with sets, for tests of code that reads sets."""

from __future__ import annotations

import numpy as np

from orl_explorer.db.encoders import add_encoder, find_encoder
from orl_explorer.db.models import Encoder, Neighbor, Run
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import rois_of
from orl_explorer.db.sets.write import CandidateRows, MinedImage, MinedPairs
from orl_explorer.db.store import Store, insert_rows

Found = dict[int, list[tuple[int, int, int]]]  # image -> (neighbour, its RoI of the query, of the neighbour) of pairs


def add_set(store: Store, name: str, rois: dict[int, int], found: Found, *, publish: bool = True) -> int:
    """Write a set in which image i has ``rois[i]`` candidates, numbered from 0, and the pairs of ``found[i]``.

    RoI n of an image is the same box in every set; a pair's similarity is 1/4, or 3/4 for the first candidate.
    """
    run = add_run(store, Run(kind="mine", name=name, params={}))
    encoder = find_encoder(store, "e")
    if encoder is None:
        row = Encoder(name="e", architecture="resnet18", kind="imported", supervised=False, weights_sha256="0")
        row.weights_path, row.image_features, row.roi_features = "e.pt", 4, 4
        encoder = add_encoder(store, row)
    set_id = write.begin_set(store, name, 1, encoder.id, {}, run.id).id
    boxes = {image: np.array([[n, 0, 9, 9] for n in range(count)], np.int16) for image, count in rois.items()}
    write.add_candidates(store, set_id, [CandidateRows(image, own, 50, False) for image, own in boxes.items()])
    ids = {image: stored.ids for image, stored in rois_of(store, set_id, list(rois)).items()}
    batch, near = [], []
    for image in rois:
        pairs = found.get(image, [])
        nearest = list(dict.fromkeys(neighbor for neighbor, _, _ in pairs))
        near += [(set_id, image, rank, neighbor, 0.5) for rank, neighbor in enumerate(nearest, 1)]
        mined = []
        for rank, neighbor in enumerate(nearest, 1):
            own = [(q, k) for other, q, k in pairs if other == neighbor]
            cosine = np.array([0.25 if q else 0.75 for q, _ in own], np.float32)
            query, key = (np.array([ids[of][pair[side]] for pair in own]) for side, of in ((0, image), (1, neighbor)))
            mined.append(MinedPairs(rank, query, key, cosine, cosine / 2, np.ones(len(own), bool)))
        batch.append(MinedImage(image, tuple(mined)))
    with store.session() as session:
        insert_rows(session, Neighbor, ("set_id", "image_id", "rank", "neighbor_id", "similarity"), near)
    write.add_pairs(store, set_id, batch)
    if publish:
        write.publish_set(store, set_id)
    return set_id
