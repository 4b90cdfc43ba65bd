"""Encoders in words: what their weights learned from, and how photos are read with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orl_explorer.db.models import Encoder
from orl_explorer.orl.reading import Reading
from orl_explorer.train.training.adapt_config import ADAPTED
from orl_explorer.train.words import plural

if TYPE_CHECKING:  # the command line starts without the modules of an import
    from orl_explorer.train.interchange.import_vectors import ImportedVectors

LEARNED = {
    "labels": "with labels",
    "text": "with text",
    "nothing": "without labels",
    "unknown": "unknown",
}
SALIENCE = {
    "norm": "by the norm of the map",
    "class": "by the class token's attention",
    "degree": "by how few cells of the map are alike",
}
POOLING = {"mean": "mean of the map", "class": "class token", "head": "the network's own head"}


def encoder_facts(row: Encoder, reading: Reading) -> dict[str, str]:
    """Return what is known of an encoder, by label."""
    layer = f"{reading.layer} of {reading.layers}" if reading.layers else "the last"
    sizes = "one size only" if reading.fixed else f"any multiple of {reading.multiple} px"
    registers = reading.prefix - reading.class_token
    tokens = [*["a class token"] * reading.class_token, *[f"{registers} more tokens"] * (registers > 0)]
    random = row.source.startswith("random:")
    through = " through a linear projector" if row.kind == ADAPTED else ""
    return {
        "architecture": row.architecture,
        "source": row.source,
        "trained": "not at all (random weights)" if random else LEARNED[row.learned_from],
        "layer": layer,
        "map": f"one cell for {reading.stride} px, {reading.channels or row.roi_features} channels",
        "feature": f"{POOLING[reading.pooling]}{through}, {row.roi_features} numbers",
        "before the map": " and ".join(tokens) or "no tokens",
        "images": sizes,
        "photos": f"{reading.photo_size} px for attention",
        "objectness": SALIENCE[reading.salience],
        "crops": f"{reading.crop_size} px, {reading.interpolation}",
        "mean of RGB": _numbers(reading.mean),
        "deviation of RGB": _numbers(reading.std),
        "network": ", ".join(f"{key} {value}" for key, value in reading.network.items()) or "as its library builds it",
        "digest": row.weights_sha256,
    }


def import_told(found: ImportedVectors, done: str = "added") -> list[str]:
    """Return what an import of vectors did, in sentences. done: or what it would do, in a word."""
    row = found.encoder
    there = f"; {found.there:,} were there already" if found.there else ""
    told = [
        f"{'New encoder' if found.new else 'Encoder'} '{row.name}': {plural(found.photos, 'vector')} of photos with "
        f"{plural(row.image_features, 'number')} and {found.boxes:,} of boxes with {row.roi_features:,} {done}{there}."
    ]
    if found.scaled:
        told.append(f"Scaled to unit length: {plural(found.scaled, 'vector')}.")
    if found.unreadable:
        told.append(f"Left out {plural(found.unreadable, 'row')} of photos that cannot be read here.")
    return told


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
