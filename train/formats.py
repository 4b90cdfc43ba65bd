"""Formats for the export of correspondence sets and encoders."""

from __future__ import annotations

from typing import Literal

SetFormat = Literal["reference", "parquet", "csv", "coco", "verdicts", "tags", "settings", "archive"]
EncoderFormat = Literal["torchvision", "timm", "detectron2", "safetensors", "onnx"]
