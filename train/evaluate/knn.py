"""Classification by the k nearest neighbours of pooled features. It is quick and trains nothing."""

from __future__ import annotations

import numpy as np
import torch

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.orl.measure.knn import knn_predict
from orl_explorer.train.encoders.weights import load_encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.features import SPLITS, crops_of, features_of, read_photo
from orl_explorer.train.evaluate.folders import class_folders, is_voc, kept, voc_largest
from orl_explorer.train.evaluate.protocols import KNNConfig, Result
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.distributed import choose_device
from orl_explorer.train.workspace import Workspace

AT_ONCE = 256  # queries of one comparison with the bank


def evaluate(
    workspace: Workspace, encoder: EncoderRow, data: str, config: KNNConfig, *, run_id: int, progress: Progress
) -> Result:
    """Return the accuracy on the test photos with ``config.k`` neighbours, ``accuracy``, and with each k.

    ``chance`` is the share of the most common class. In VOC, a photo's class is that of its largest object.
    """
    folder = workspace.run_folder(run_id)
    voc = is_voc(data)
    train, test = kept(
        folder, lambda: voc_largest(data, config.train_split, config.test_split) if voc else class_folders(data)
    )
    if not len(train.files) or not len(test.files):
        raise UserError(f"A split of {data} has no photo with an object that is not difficult.")
    device = str(choose_device())
    network = load_encoder(workspace, encoder, device)
    reading = crops_of(network.reading, config.crop_size)
    bank, queries = (
        features_of(
            folder,
            name,
            split.files,
            encoder.roi_features,
            encoder=encoder.name,
            weights_sha256=encoder.weights_sha256,
            view=lambda file: reading.photo(read_photo(file)),
            forward=network.embed_rois,
            device=device,
            progress=progress,
        )
        for name, split in zip(SPLITS, (train, test), strict=True)
    )
    ks = sorted({min(k, len(bank)) for k in (*config.ks, config.k)})
    progress.phase("Classifying", len(ks))
    known, asked = torch.tensor(bank), torch.tensor(queries)
    labels = torch.tensor(train.labels)
    accuracy = {}
    for k in ks:
        predicted = [knn_predict(known, labels, part, k, config.temperature) for part in asked.split(AT_ONCE)]
        accuracy[str(k)] = float(np.mean(torch.cat(predicted).numpy() == test.labels))
        progress.advance()
    common = np.bincount(train.labels).argmax()
    numbers = {
        "accuracy": accuracy[str(min(config.k, len(bank)))],
        "chance": float(np.mean(test.labels == common)),
        "photos": float(len(test.files)),
    }
    notes = ["A photo's class is that of its largest object."] if voc else []
    if len(bank) < config.k:
        notes.append(f"The accuracy is that with k = {len(bank)}: there are no more training photos.")
    return Result(numbers, {"accuracy": accuracy}, notes)
