"""What the pair page sends to its component: photos, pairs, matrix, best matches, explanations, caption."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from orl_explorer.app.explorer import preview
from orl_explorer.app.explorer.author import author
from orl_explorer.app.explorer.preview import Side, Subject
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.forms import described
from orl_explorer.app.pages.pair.component import (
    Attention,
    Explained,
    Match,
    Matches,
    Matrix,
    NeighborPhoto,
    OutsidePair,
    Pair,
    PairPayload,
    Photo,
    RoiName,
    Selection,
)
from orl_explorer.app.server.pictures import WIDTHS, attention_url, crop_url, photo_url
from orl_explorer.db.models import Image, Judgement
from orl_explorer.db.people.verdicts import verdicts_of
from orl_explorer.db.sets.read import NeighborImage
from orl_explorer.orl.matching import Pairs, pair_count
from orl_explorer.train.mining.candidates import Described
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.settings import differences

SHOWN_REJECTED = 120  # rejected boxes drawn on each side, the largest; more would hide the photo
INFERNO = ["#000004", "#420a68", "#932667", "#dd513a", "#fca50a", "#fcffa4"]
PACKED = 10_000  # a cosine is sent as an integer of this many parts of one


@dataclass(frozen=True)
class Shown:
    """What is on screen: a query and its neighbours as the settings have them, and the pairs with one of them.

    sides: by rank, of the neighbour on screen; of all others too where ``needs_all`` says so.
    rois: what the pairs of the query and of the neighbour on screen are chosen by. similar: their cosines, [B_q, B_k].
    """

    config: MineConfig
    query: Side
    found: list[NeighborImage]
    sides: dict[int, Side]
    rank: int
    rois: tuple[Described, Described]
    pairs: Pairs
    similar: np.ndarray

    @property
    def key(self) -> Side:
        """The neighbour on screen."""
        return self.sides[self.rank]


@dataclass(frozen=True)
class Heat:
    """The attention map that is picked: whose, and of what."""

    encoder_id: int
    encoder: str
    cosine: bool


def needs_all(config: MineConfig, roi: RoiName | None) -> bool:
    """Whether all neighbours' boxes must be known, not just those of the one on screen."""
    return config.min_similarity > -1 or (roi is not None and roi.side == "query" and not roi.rejected)


def payload(
    subject: Subject, shown: Shown, pair: str, roi: RoiName | None, heat: Heat, following: Image | None
) -> PairPayload:
    """Everything that the view draws. pair: what the URL says of it; roi: the box that was clicked."""
    query, key, found = shown.query, shown.key, shown.found[shown.rank - 1]
    verdicts = verdicts_of(subject.workspace.store, query.image.id, author())

    def judged(q: int, k: int) -> Judgement | None:
        return verdicts.get((box(query, q), key.image.id, box(key, k)))

    rows: list[Pair] = [
        {"rank": n, "q": int(q), "k": int(k), "similarity": float(s), "verdict": judged(q, k)}
        for n, (q, k, s) in enumerate(zip(shown.pairs.query, shown.pairs.key, shown.pairs.similarity, strict=True), 1)
    ]
    selected = _selected(shown, pair)
    kept = {(row["q"], row["k"]) for row in rows}
    outside = None
    if selected and (selected["q"], selected["k"]) not in kept:
        outside = _outside(shown, selected, judged(selected["q"], selected["k"]))
    return {
        "query": _photo(query),
        "neighbor": NeighborPhoto(**_photo(key), rank=shown.rank, similarity=found.similarity),
        "neighbors": [
            {
                "rank": n.rank,
                "id": n.image.id,
                "name": PurePosixPath(n.image.path).name,
                "thumb": photo_url(n.image.id, n.image.mtime_ns, WIDTHS[0]),
                "similarity": n.similarity,
                "pairs": len(rows)
                if n.rank == shown.rank
                else preview.pair_total(subject, shown.rois[0], shown.sides.get(n.rank), shown.config),
            }
            for n in shown.found
        ],
        "pairs": rows,
        "selected": selected,
        "outside": outside,
        "roi": str(roi) if roi else None,
        "matches": matches(subject, shown, roi) if roi else None,
        "explained": _explained(subject, shown, roi) if roi else None,
        "matrix": packed(shown.similar),
        "attention": _attention(query, key, selected, heat),
        "place": {"data": subject.dataset.name, "set": subject.mined.name, "q": str(query.image.id)},
        "caption": _caption(subject, shown, found),
        "crop_url": crop_url(),
        "can_judge": not shell.read_only(),
        "prefetch": [photo_url(following.id, following.mtime_ns)] if following else [],
    }


def packed(similar: np.ndarray) -> Matrix:
    """A matrix of cosines, float32 [B_q, B_k], as the component takes it: two bytes each."""
    whole = np.round(similar.clip(-1, 1) * PACKED).astype("<i2")
    return {"rows": len(similar), "columns": similar.shape[1], "values": base64.b64encode(whole.tobytes()).decode()}


def matches(subject: Subject, shown: Shown, roi: RoiName) -> Matches | None:
    """The best match of a query RoI in every neighbour, or of a neighbour's RoI in the query."""
    side = shown.query if roi.side == "query" else shown.key
    if roi.rejected or roi.index >= len(side.boxes):
        return None
    vector = preview.features(subject, side)[roi.index]
    others = shown.sides if roi.side == "query" else {None: shown.query}
    items = [_match(subject, vector, rank, other) for rank, other in others.items()]
    return {"side": roi.side, "index": roi.index, "items": items}


def _match(subject: Subject, vector: np.ndarray, rank: int | None, other: Side) -> Match:
    best = preview.best_match(subject, vector, other)
    if best is None:
        return {"rank": rank, "id": other.image.id, "index": None, "box": None, "similarity": None}
    where = other.boxes[best.index].tolist()
    return {"rank": rank, "id": other.image.id, "index": best.index, "box": where, "similarity": best.similarity}


def _explained(subject: Subject, shown: Shown, roi: RoiName) -> Explained | None:
    if not roi.rejected:
        return None
    side = shown.query if roi.side == "query" else shown.key
    text = preview.counterfactual(subject, side, shown.config, roi.index)
    return {"side": roi.side, "raw": roi.index, "text": text} if text else None


def _selected(shown: Shown, pair: str) -> Selection | None:
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", pair, re.ASCII)
    if not found:
        return None
    q, k = int(found[1]), int(found[2])
    rows, columns = shown.similar.shape
    return {"q": q, "k": k} if q < rows and k < columns else None


def _outside(shown: Shown, selected: Selection, verdict: Judgement | None) -> OutsidePair:
    q, k = selected["q"], selected["k"]
    rank = preview.place_of(shown.similar, *shown.rois, (q, k))
    limit = pair_count(shown.config.pair_ratio, len(shown.query.boxes))
    rows, columns = shown.similar.shape
    note = f"Not in the set: rank {rank:,} of {rows} × {columns}"
    if rank <= limit:
        note += f", and below min similarity {shown.config.min_similarity:g}"
    else:
        note += f"; the first {limit} are kept" if limit > 1 else "; only the first is kept"
    return {"q": q, "k": k, "similarity": float(shown.similar[q, k]), "verdict": verdict, "note": note}


def _photo(side: Side) -> Photo:
    image = side.image
    return {
        "id": image.id,
        "name": image.path,
        "url": photo_url(image.id, image.mtime_ns),
        "width": image.width,
        "height": image.height,
        "boxes": side.boxes.tolist(),
        "rejected": preview.explain(side, SHOWN_REJECTED),
    }


def _attention(query: Side, key: Side, selected: Selection | None, heat: Heat) -> Attention:
    roi, name = None, "activation norm"
    if heat.cosine:
        index = selected["q"] if selected else 0
        roi = (query.image.id, box(query, index))
        name = f"cosine to query RoI {index + 1}"
    return {
        "query": attention_url(heat.encoder_id, query.image.id, roi),
        "neighbor": attention_url(heat.encoder_id, key.image.id, roi),
        "label": f"{name} · {heat.encoder}",
        "low": "0" if roi else "low",
        "high": "1" if roi else "high",
        "colors": INFERNO,
    }


def _caption(subject: Subject, shown: Shown, found: NeighborImage) -> list[str]:
    """What a saved figure says of itself."""
    changed = differences(shown.config, MineConfig.of(subject.mined))
    differs = f", changed: {', '.join(changed)}" if changed else ""
    values = described(shown.config)
    way = ", approximate regions" if subject.approximate else ""
    return [
        f"Correspondence set {subject.mined.name}{differs}. {values}.",
        f"Query {shown.query.image.path}; neighbour {shown.rank} of {len(shown.found)}, {found.image.path}, cosine "
        f"{found.similarity:.3f}.",
        f"Encoder {shell.encoder_label(subject.encoder)}{way}.",
    ]


def box(side: Side, index: int) -> tuple[int, ...]:
    """A candidate of a photo, x y w h."""
    return tuple(int(v) for v in side.boxes[index])
