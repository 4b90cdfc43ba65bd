"""How well an encoder's attention maps (Fig. 4) find annotated objects, by the measures of ``orl.localisation``."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.db.models import Image
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.orl.attention import AttentionKind, attention_maps, enlarged, input_size
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.measure.average_precision import interval
from orl_explorer.orl.measure.localisation import Localisation, as_measures, average, centre_prior, localisation, union
from orl_explorer.orl.pixels import UnreadableImage
from orl_explorer.train.encoders.weights import load_encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.parts import KeptParts
from orl_explorer.train.evaluate.protocols import AttentionConfig, Result
from orl_explorer.train.lost import none_readable, tell_left_out
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.distributed import choose_device
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

METHODS: tuple[AttentionKind, ...] = ("activation", "cosine")
PRIOR = "centre_prior"  # a map that does not depend on the photo
DRAWS = 1000  # of photos, for the 95 % interval


def evaluate(
    workspace: Workspace, encoder: EncoderRow, data: str, config: AttentionConfig, *, run_id: int, progress: Progress
) -> Result:
    """Return the localisation of both maps and of the centre prior, averaged over photos; see ``Localisation``.

    data: an annotated dataset. Raises UserError if no photo has an object to find.
    """
    dataset = dataset_named(workspace.store, data)
    tell_left_out(dataset, progress)
    images = {image.id: image for image in usable_images(workspace.store, dataset.id)}
    objects = annotated_objects(workspace.store, sorted(images))
    sure = sorted({int(i) for i in objects.image_ids[~objects.difficult]})
    if not sure:
        raise UserError(f"No photo of '{data}' has an annotated object that is not difficult.")
    drawn = np.random.default_rng(config.seed).permutation(sure)[: config.photos]
    parts, photos = KeptParts(workspace.run_folder(run_id)), Photos.of(workspace.store, dataset.id)
    network = load_encoder(workspace, encoder, str(choose_device()))
    progress.phase("Measuring attention maps", len(drawn))
    unread = 0
    for i in drawn.tolist():
        if str(i) not in parts:
            own = objects.image_ids == i
            try:
                found = _look(network, photos, images[i], objects.boxes[own], objects.difficult[own])
            except UnreadableImage as error:  # moved or deleted since the ingest
                progress.log(f"Skipped {images[i].path}: {error}.")
                unread += 1
                continue
            parts.add(str(i), found)
        progress.advance()
    each = [parts[str(i)] for i in drawn.tolist() if str(i) in parts]
    if not each:
        raise none_readable(data)
    if not any(each):
        raise UserError(f"Every annotated object of '{data}' is smaller than a pixel at the size of the maps.")
    return _summary(each, config, unread)


def _look(
    network: EncoderNetwork, photos: Photos, image: Image, boxes: np.ndarray, difficult: np.ndarray
) -> dict[str, list[float]]:
    """Return the numbers of one photo by map, in the order of ``Localisation``."""
    photo = photos.read(image)
    size = input_size(image.width, image.height)
    on_object = union(boxes[~difficult], image.width, image.height, size)
    counted = on_object | ~union(boxes[difficult], image.width, image.height, size)
    if not on_object.any():  # the object is smaller than a pixel, so the photo cannot rank maps
        return {}
    maps = dict(attention_maps(network, photo)) | {PRIOR: centre_prior()}
    return {name: list(astuple(localisation(enlarged(heat, *size), on_object, counted))) for name, heat in maps.items()}


def _summary(each: list[dict[str, list[float]]], config: AttentionConfig, unread: int) -> Result:
    small = sum(not one for one in each)
    each = [one for one in each if one]
    found = {name: [Localisation(*one[name]) for one in each] for name in (*METHODS, PRIOR)}
    means = {name: average(some) for name, some in found.items()}
    numbers = {"photos": float(len(each))}
    values: dict[str, dict[str, float]] = {}
    for name, mean in means.items():
        measures = as_measures(mean)
        numbers |= {f"{name}_{measure}": value for measure, value in measures.items()}
        values[name] = {m: v for m, v in measures.items() if not m.endswith("_chance")}
        values[f"{name}_by_chance"] = {m: measures[f"{m}_chance"] for m in values[name]}
    covered = np.array([one.mean_iou for one in found["activation"]])
    again = np.random.default_rng(config.seed).integers(0, len(covered), (DRAWS, len(covered)))
    numbers["activation_mean_iou_low"], numbers["activation_mean_iou_high"] = interval(covered[again].mean(axis=1))
    notes = [f"{unread} photos are gone or cannot be read and were left out."] if unread else []
    if small:
        notes.append(f"{plural(small, 'photo')} left out: every object is smaller than a pixel at the maps' size.")
    return Result(numbers, values, notes)
