"""Whether an encoder can be run in a precision. Does not import torch."""

from __future__ import annotations

from orl_explorer.db.models import Encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.settings import Precision, check_precision


def refuse_precision(encoder: Encoder, precision: Precision) -> None:
    """Raise UserError if packages are missing that a precision needs, or if it does not suit the encoder."""
    check_precision(precision)
    if precision == "fp32-onnx" and encoder.reading is not None:
        raise UserError(
            f"Invalid value for precision: fp32-onnx. ONNX Runtime runs convolutional networks that are read in the "
            f"default way, but '{encoder.name}' is a {encoder.architecture} read in its own way. Use fp32."
        )
