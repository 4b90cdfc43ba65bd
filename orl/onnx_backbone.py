"""A backbone by ONNX Runtime, whose convolutions are faster than torch's on CPUs."""

from __future__ import annotations

import io
import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

TOLERANCE = 1e-4  # of the largest value; rounding stays below a hundredth of that
AT_ONCE = 4 * 224**2  # pixels of a thread's images; a core's caches hold the maps of a few crops
SHAPES = ((2, 3, 224, 224), (1, 3, 160, 288))  # of the images that are compared


class OnnxBackbone(nn.Module):
    """A backbone as an ONNX program: the same maps up to rounding, the same for any number of images and threads.

    It has no parameters and runs on the CPU.
    """

    def __init__(self, backbone: nn.Module) -> None:
        """Translate a backbone, float32 on the CPU in eval mode, and compare its maps with those of the program.

        Raises ImportError without onnx and onnxruntime, and RuntimeError if torch cannot translate the network or the
        program computes other maps.
        """
        import onnx  # noqa: F401, torch's exporter needs it
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        # Each thread takes images of its own. Threads that share an image would wait for each other at every layer, and
        # so for those threads that read and crop photos at the same time.
        options.intra_op_num_threads = 1
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads)
        self._session = onnxruntime.InferenceSession(_program(backbone), options, providers=["CPUExecutionProvider"])
        self._compare(backbone)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the last layer's maps: float32 [B, 3, H, W] -> float32 [B, C, H/32, W/32]."""
        count, _, height, width = images.shape
        some = min(max(1, AT_ONCE // (height * width)), math.ceil(count / self._threads))
        return torch.cat(list(self._pool.map(self._run, images.split(some))))

    def _run(self, images: Tensor) -> Tensor:
        (maps,) = self._session.run(None, {"images": images.contiguous().numpy()})
        return torch.from_numpy(maps)

    @torch.inference_mode()
    def _compare(self, backbone: nn.Module) -> None:
        """Raise RuntimeError if the program took a property of the example for one of all images."""
        drawn = torch.Generator().manual_seed(0)
        for shape in SHAPES:
            images = torch.randn(shape, generator=drawn)
            expected, found = backbone(images), self(images)
            if found.shape != expected.shape or not torch.allclose(
                found, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max())
            ):
                raise RuntimeError(f"its maps of images of {shape[3]} x {shape[2]} px differ from torch's")


def _program(backbone: nn.Module) -> bytes:
    """Translate a network from images float32 [B, 3, H, W] to maps by tracing it: in a second.

    torch's newer exporter takes ten times as long. It proves that a program fits all sizes; here, it is compared.
    """
    written, free = io.BytesIO(), {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            backbone,
            (torch.zeros(SHAPES[0]),),
            written,  # type: ignore[arg-type]  # the tracing exporter writes to open files too
            input_names=["images"],
            output_names=["maps"],
            dynamic_axes={"images": free, "maps": free},
            dynamo=False,
        )
    return written.getvalue()
