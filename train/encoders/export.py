"""Export of encoders: state dicts of other libraries, safetensors, ONNX; each with a card that describes it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import pickle
import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.orl.architectures import RESNETS, TIMM
from orl_explorer.orl.dense import Dense
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.heads import head_of, pool
from orl_explorer.orl.reading import PLAIN, Reading
from orl_explorer.train.encoders import weights
from orl_explorer.train.encoders.checkpoint_files import card_file
from orl_explorer.train.encoders.state_dicts import StateDict, Weights
from orl_explorer.train.encoders.vectors import refuse_vectors
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import whole_file, writing
from orl_explorer.train.formats import EncoderFormat
from orl_explorer.train.provenance import provenance
from orl_explorer.train.workspace import Workspace

WITH_PROJECTOR = ("safetensors", "onnx")

_Card = dict[str, Any]


def export_encoder(workspace: Workspace, name: str, form: str, to: Path) -> Path:
    """Write an encoder in a format, and its card beside it. Returns the card's path.

    Raises UserError if the format is unknown or does not fit the architecture, StoreError if the name is unknown.
    """
    if form not in get_args(EncoderFormat):
        raise UserError(f"There is no format '{form}'. Known formats: {', '.join(get_args(EncoderFormat))}.")
    row = encoder_named(workspace.store, name)
    refuse_vectors(row, "an export")
    _refuse_foreign(row, form)
    kept = weights.stored_weights(workspace, row)
    head = head_of(kept.projector or {})
    if head is not None and head.kind == "linear" and form not in WITH_PROJECTOR:
        raise UserError(
            f"Invalid value for --format: {form}. It holds no projector, and that of '{name}' makes its features. "
            f"Use {' or '.join(WITH_PROJECTOR)}."
        )
    card = _card(workspace, row, kept, form)
    beside = card_file(to)
    with whole_file(beside) as described, whole_file(to) as file:
        match form:
            case "safetensors":
                _write_safetensors(kept, card, file)
            case "onnx":
                _write_onnx(kept, card, file)
            case "detectron2":
                with file.open("wb") as opened:
                    pickle.dump(detectron2_checkpoint(kept.backbone), opened)
            case _:
                with writing(file) as opened:
                    torch.save(kept.backbone, opened)
        described.write_text(json.dumps(card, indent=1))
    return beside


def detectron2_checkpoint(backbone: StateDict) -> _Card:
    """Convert a torchvision ResNet to detectron2's names and numpy arrays, with matching by suffixes enabled.

    Pixels stay RGB with torchvision's mean and deviation, and the stride in the 3 x 3 convolution. detectron2's
    configuration must set both; the card lists the values.
    """
    renamed = {_detectron2_name(name): value.detach().cpu().numpy() for name, value in backbone.items()}
    return {"model": renamed, "__author__": "ORL Explorer", "matching_heuristics": True}


def detectron2_settings(architecture: str) -> dict[str, Any]:
    """Return the settings of detectron2's configuration for such a file: pixels and shape of the network."""
    depth, *rest = re.findall(r"\d+", architecture)
    settings: dict[str, Any] = {
        "INPUT.FORMAT": "RGB",
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "MODEL.RESNETS.DEPTH": int(depth),
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
    }
    match rest:
        case [groups, width]:  # resnext50_32x4d
            settings |= {"MODEL.RESNETS.NUM_GROUPS": int(groups), "MODEL.RESNETS.WIDTH_PER_GROUP": int(width)}
        case [times]:  # wide_resnet50_2
            settings["MODEL.RESNETS.WIDTH_PER_GROUP"] = 64 * int(times)
    if int(depth) < 50:
        settings["MODEL.RESNETS.RES2_OUT_CHANNELS"] = 64
    return settings


def _detectron2_name(name: str) -> str:
    if not name.startswith("layer"):
        name = f"stem.{name}"
    for number in (1, 2, 3, 4):
        name = name.replace(f"layer{number}.", f"res{number + 1}.").replace(f"bn{number}.", f"conv{number}.norm.")
    return name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")


def _refuse_foreign(row: EncoderRow, form: str) -> None:
    known = {
        "torchvision": row.architecture in RESNETS,
        "detectron2": row.architecture in RESNETS,
        "timm": row.architecture in RESNETS or row.architecture.startswith(TIMM),
    }
    if not known.get(form, True):
        others = "timm, safetensors or onnx" if known["timm"] else "safetensors or onnx"
        raise UserError(
            f"Invalid value for --format: {form}. It has no {row.architecture}, the architecture of '{row.name}'. "
            f"Use {others}."
        )


def _card(workspace: Workspace, row: EncoderRow, kept: Weights, form: str) -> _Card:
    reading = weights.reading_of(row)
    trained = provenance(workspace.run_folder(row.run_id)) if row.run_id is not None else {}
    return {
        "encoder": row.name,
        "architecture": row.architecture,
        "kind": row.kind,
        "supervised": row.supervised,
        "learned_from": row.learned_from,
        "source": row.source,
        "weights_sha256": row.weights_sha256,
        "method": trained.get("method"),
        "epochs": trained.get("config", {}).get("epochs"),
        "trained_on": trained.get("trained_on"),
        "config": trained.get("config"),
        "attempts": trained.get("attempts"),
        "pixels": {"order": "RGB", "mean": reading.mean, "std": reading.std, "of": "values in 0..1"},
        "reading": None if kept.reading is None else reading.stored(),
        "format": form,
        "how_to_load": _how_to_load(row.architecture, form, kept.reading),
        "written_by": f"orl-explorer {version('orl-explorer')}",
        "created_at": row.created_at.isoformat(),
    }


def _how_to_load(architecture: str, form: str, reading: Reading | None) -> str:
    match form:
        case "torchvision":
            return f"torchvision.models.{architecture}().load_state_dict(torch.load(FILE), strict=False); fc is missing"
        case "timm":
            name = architecture.removeprefix(TIMM)
            more = "".join(f", {key}={value!r}" for key, value in (reading.network if reading else {}).items())
            return f"timm.create_model('{name}', num_classes=0{more}).load_state_dict(torch.load(FILE))"
        case "detectron2":
            settings = ", ".join(f"{key} {value}" for key, value in detectron2_settings(architecture).items())
            return f"MODEL.WEIGHTS FILE, {settings}"
        case "safetensors":
            return "orl encoders add FILE --name NAME; names begin with backbone. and projector."
    sides = "H, W" if reading is None else f"{reading.crop_size}, {reading.crop_size}"
    return f"images [N, 3, {sides}], RGB in 0..1 -> features [N, C] and, where there is one, projection [N, D]"


def _texts(card: _Card) -> dict[str, str]:
    """Return a card as metadata of strings."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in card.items()}


def _write_safetensors(kept: Weights, card: _Card, file: Path) -> None:
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise UserError(_needs("safetensors")) from error
    parts = {"backbone": kept.backbone, "projector": kept.projector or {}}
    state = {f"{part}.{name}": value.contiguous() for part, state in parts.items() for name, value in state.items()}
    file.write_bytes(save(state, metadata=_texts(card)))  # save_file would hide that the disk is full


class _Exported(nn.Module):
    """An encoder from pixels in 0..1 to features that are not normalised to unit length."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: EncoderNetwork) -> None:
        super().__init__()
        self.backbone, self.projector = encoder.backbone, encoder.projector
        self.register_buffer("mean", encoder.mean)
        self.register_buffer("std", encoder.std)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        images = (images - self.mean) / self.std
        features = self.backbone.pooled(images) if isinstance(self.backbone, Dense) else pool(self.backbone(images))
        return (features,) if self.projector is None else (features, self.projector(features))


def _write_onnx(kept: Weights, card: _Card, file: Path) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401, torch's exporter needs it
    except ImportError as error:
        raise UserError(_needs("onnx")) from error
    network = _Exported(weights.build(kept)).eval()
    names = ["features"] if kept.projector is None else ["features", "projection"]
    # Two images: the exporter would treat an axis of length one as constant.
    reading = kept.reading or PLAIN
    example = torch.zeros(2, 3, reading.crop_size, reading.crop_size)
    sides = {0: "batch", 2: "height", 3: "width"} if kept.reading is None else {0: "batch"}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                network,
                (example,),
                input_names=["images"],
                output_names=names,
                dynamic_shapes={"images": sides},
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UserError(f"torch cannot translate a {kept.architecture} to ONNX. Use safetensors.") from error
    assert program is not None
    model = program.model_proto
    for key, text in _texts(card).items():
        model.metadata_props.add(key=key, value=text)
    onnx.save(model, str(file))


def _needs(form: str) -> str:
    return f"--format {form} needs more packages. Install them with: pip install 'orl-explorer[export]'."
