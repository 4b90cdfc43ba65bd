"""The encoder that mining uses: it turns pixels into L2-normalised features, in eval mode and fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from orl_explorer.orl.architectures import TIMM
from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.dense import Dense, build_dense, library_network, norms, statistics
from orl_explorer.orl.heads import Head, LinearProjector, build_head, pool
from orl_explorer.orl.map_boxes import boxes_of_map
from orl_explorer.orl.multi_depth import depth_maps, pool_cells, pool_depths
from orl_explorer.orl.onnx_backbone import OnnxBackbone
from orl_explorer.orl.pixels import ATTENTION_CELLS, ATTENTION_COARSE, ATTENTION_LOOKS
from orl_explorer.orl.reading import PLAIN, Reading, rounded


class EncoderNetwork(nn.Module):
    """An online backbone and, if the weights have one, its projector.

    The backbone turns images into maps. One with a reading is a ``Dense``, which also pools them in its own way. An
    encoder without a projector (the starter, an imported backbone) uses its pooled feature for images too. A linear
    projector projects RoIs as well, the others images alone.
    """

    mean: Tensor  # [1, 3, 1, 1], of RGB in [0, 1]
    std: Tensor

    def __init__(self, architecture: str, projector: Head | None = None, reading: Reading | None = None) -> None:
        """Build the network. projector: its shape, or None. reading: None for the default."""
        super().__init__()
        self.architecture, self.reading = architecture, reading or PLAIN
        self.backbone: nn.Module
        if reading is None:
            self.backbone, self.features = build_backbone(architecture)
            self.channels = self.features
        else:
            self.backbone = build_dense(architecture, reading)
            self.features, self.channels = reading.features, reading.channels
        self.projector = build_head(self.features, projector) if projector else None
        self._image_features = projector.outputs if projector else self.features
        self.statistics = statistics(architecture, self.backbone)
        mean, std = self.statistics
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @property
    def image_features(self) -> int:
        """Length of an image feature: that of the projector's output, else of the pooled backbone's."""
        return self._image_features

    @property
    def roi_features(self) -> int:
        """Length of a RoI feature: that of a linear projector's output, else of the pooled backbone's."""
        return self._image_features if isinstance(self.projector, LinearProjector) else self.features

    @property
    def network(self) -> nn.Module:
        """The network whose state dict has its library's names."""
        return library_network(self.backbone)

    def normalise(self, pixels: np.ndarray) -> Tensor:
        """Normalise pixels: uint8 [B, H, W, 3] RGB -> float [B, 3, H, W], channels last in memory."""
        images = torch.tensor(pixels).permute(0, 3, 1, 2)
        images = images.to(self.mean.device, torch.float32).div_(255)
        return images.sub_(self.mean).div_(self.std)

    def lower(self) -> EncoderNetwork:
        """Switch the backbone to bfloat16: twice as fast on processors with instructions for it, with rounding."""
        self.backbone.to(torch.bfloat16)
        return self

    def by_onnx(self) -> EncoderNetwork:
        """Run the backbone by ONNX Runtime, on the CPU. Raises what ``OnnxBackbone`` raises."""
        if isinstance(self.backbone, Dense):
            raise RuntimeError("only convolutional networks that are read in the default way can be translated")
        self.backbone = OnnxBackbone(self.backbone)
        return self

    @torch.no_grad()  # inference tensors as weights would fail in single-threaded convolutions
    def fold(self) -> EncoderNetwork:
        """Merge every batch norm into the convolution before it: the same features in four fifths of the time.

        Call once, after the weights are loaded: it changes the state dict. Networks of timm stay as they are: their
        batch norms may contain activations or precede convolutions.
        """
        if self.architecture.startswith(TIMM) or isinstance(self.backbone, Dense):
            return self
        made_by: dict[int, nn.Module] = {}
        follows: dict[nn.Module, nn.Module] = {}

        def conv_ran(conv: nn.Module, _: tuple, output: Tensor) -> None:
            made_by[id(output)] = conv

        def norm_runs(norm: nn.Module, inputs: tuple) -> None:
            follows[norm] = made_by[id(inputs[0])]

        hooks = []
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d):
                hooks.append(module.register_forward_hook(conv_ran))
            elif isinstance(module, nn.BatchNorm2d):
                hooks.append(module.register_forward_pre_hook(norm_runs))
        self.backbone(torch.zeros(1, 3, 32, 32, device=self.mean.device))
        for hook in hooks:
            hook.remove()
        for parent in list(self.backbone.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    conv = follows[child]
                    assert isinstance(conv, nn.Conv2d)
                    assert child.running_mean is not None and child.running_var is not None
                    conv.weight, conv.bias = fuse_conv_bn_weights(
                        conv.weight,
                        conv.bias,
                        child.running_mean,
                        child.running_var,
                        child.eps,
                        child.weight,
                        child.bias,
                    )
                    setattr(parent, name, nn.Identity())
        return self.requires_grad_(False)

    def _maps(self, pixels: np.ndarray) -> Tensor:
        """Compute the maps: uint8 [B, H, W, 3] -> float32 [B, C, h, w], of a stride of 32 px or that of the reading.

        torch's convolutions of a single image split its sums between threads and round them differently than in a
        batch. A single image is therefore doubled, so that its feature does not depend on the batch.
        """
        return self._in_passes(pixels, self.backbone)

    def _pooled(self, pixels: np.ndarray) -> Tensor:
        """Compute pooled features: uint8 [B, H, W, 3] -> float32 [B, C]."""
        return (
            self._in_passes(pixels, self.backbone.pooled)
            if isinstance(self.backbone, Dense)
            else pool(self._maps(pixels))
        )

    def _in_passes(self, pixels: np.ndarray, run: Callable[[Tensor], Tensor]) -> Tensor:
        """Run the network on as many images at once as its memory allows."""
        at_once = self._at_once(pixels)
        parts = (pixels[start : start + at_once] for start in range(0, len(pixels), at_once))
        with whole_fp32(self.mean.device):
            return torch.cat([run(self._images(part))[: len(part)].float() for part in parts])

    def _at_once(self, pixels: np.ndarray) -> int:
        most = self.backbone.images_at_once(*pixels.shape[1:3]) if isinstance(self.backbone, Dense) else len(pixels)
        return max(1, most)

    def _images(self, pixels: np.ndarray) -> Tensor:
        alone = len(pixels) == 1 and not isinstance(self.backbone, OnnxBackbone)
        return self.normalise(pixels.repeat(2, axis=0) if alone else pixels).to(self._precision)

    @property
    def _precision(self) -> torch.dtype:
        return next((weight.dtype for weight in self.backbone.parameters()), torch.float32)

    @torch.inference_mode()
    def embed_images(self, pixels: np.ndarray) -> np.ndarray:
        """Return image features, for nearest neighbours: uint8 [B, S, S, 3] -> float32 [B, D], unit rows."""
        features = self._pooled(pixels)
        if self.projector is None or isinstance(self.projector, LinearProjector):
            return self._projected(features)
        return F.normalize(self.projector(features)).cpu().numpy()

    @torch.inference_mode()
    def embed_rois(self, pixels: np.ndarray) -> np.ndarray:
        """Return RoI features, unit rows: uint8 [B, S, S, 3] -> float32 [B, C], by a projector only if it is linear."""
        return self._projected(self._pooled(pixels))

    def _projected(self, pooled: Tensor) -> np.ndarray:
        """Return features as they are stored: float32 [B, C] -> float32 [B, D], unit rows, by a linear projector."""
        unit = F.normalize(pooled).cpu().numpy()
        return self.projector.project(unit) if isinstance(self.projector, LinearProjector) else unit

    @torch.inference_mode()
    def embed_means(self, pixels: np.ndarray) -> np.ndarray:
        """Return the means of maps, to be compared with cells of maps: uint8 [B, S, S, 3] -> float32 [B, C], unit rows.

        They are the RoI features, unless the encoder pools in another way or has a linear projector.
        """
        return F.normalize(pool(self._maps(pixels))).cpu().numpy()

    @torch.inference_mode()
    def embed_cells(self, pixels: np.ndarray, cells: int = 2) -> np.ndarray:
        """Return the last layer's map pooled to cells x cells, for SVMs: uint8 [B, H, W, 3] -> float32 [B, C · cells²].

        Rows have unit length; the cells of a channel are adjacent.
        """
        return F.normalize(pool_cells(self._maps(pixels), cells).flatten(1)).cpu().numpy()

    @torch.inference_mode()
    def embed_depths(self, pixels: np.ndarray) -> np.ndarray:
        """Return the pooled maps of all depths, concatenated, not normalised: uint8 [B, S, S, 3] -> float32 [B, D]."""

        def pooled(images: Tensor) -> Tensor:
            return torch.cat(
                [e.flatten(1) for e in pool_depths(depth_maps(self.backbone, images), pixels.shape[1])], dim=1
            )

        return self._in_passes(pixels, pooled).cpu().numpy()

    @torch.inference_mode()
    def pool_boxes(self, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Approximate RoI features by cropping the photo's map instead of the photo: one forward pass for all boxes.

        pixels: uint8 [H, W, 3], the whole photo, as ``Reading.whole_at`` returns it. boxes: [B, 4], x y w h, in pixels
        of it. Returns float32 [B, D], unit rows: RoIAlign on a grid of 7 x 7, then its mean. Only for previews: each
        cell depends on the surroundings of the box, and the pooling is always the mean.
        """
        import torchvision  # only here: it imports torch's compiler; by its whole name, as other threads import it

        with whole_fp32(self.mean.device):
            maps = self.backbone(self.normalise(pixels[None]).to(self._precision)).float()
        corners = torch.tensor(boxes, dtype=torch.float32, device=maps.device)
        corners[:, 2:] += corners[:, :2]
        cells = torchvision.ops.roi_align(maps, [corners], 7, spatial_scale=1 / self.reading.stride, aligned=True)
        return self._projected(pool(cells))

    @torch.inference_mode()
    def attention(self, pixels: np.ndarray) -> np.ndarray:
        """Return attention maps and the looks of their cells: uint8 [B, H, W, 3] -> float32 [B, 9 · h · w].

        Each row has unit length and holds nine planes of h x w cells: H/32 x W/32, and ``ATTENTION_CELLS`` a side of
        an encoder with a reading, whose map is pooled or enlarged to them. The first plane is attention, the sum of
        two scales: the norm of the last layer's channels, or what else the reading's salience is, divided by its mean,
        at full size, which separates small things, and at ``ATTENTION_COARSE`` of the sides, which sees large things
        whole. The other planes are the ``ATTENTION_LOOKS`` numbers that describe each cell at full size.
        """
        at_once = self._at_once(pixels)
        parts = (pixels[start : start + at_once] for start in range(0, len(pixels), at_once))
        with whole_fp32(self.mean.device):
            return np.concatenate([self._attention(part) for part in parts])

    def _attention(self, pixels: np.ndarray) -> np.ndarray:
        fine = self._images(pixels)
        sides = [rounded(ATTENTION_COARSE * side, self.reading.multiple) for side in pixels.shape[1:3]]
        coarse = F.interpolate(fine.float(), sides, mode="bilinear", antialias=True).to(fine.dtype)
        (maps, one), (_, other) = self._salient(fine), self._salient(coarse)
        if isinstance(self.backbone, Dense):
            maps = _in_cells(maps)
            one = norms(maps) if self.reading.salience == "norm" else _in_cells(one)
        one, other = (each / each.mean(dim=(2, 3), keepdim=True).clamp_min(1e-12) for each in (one, other))
        both = (one + F.interpolate(other, one.shape[2:], mode="bilinear"))[: len(pixels)].flatten(1)
        looks = torch.stack([_looks(each).flatten() for each in maps[: len(pixels)]])
        return F.normalize(torch.cat([F.normalize(both), F.normalize(looks)], dim=1)).cpu().numpy()

    def _salient(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps and how much each cell stands out: float32 [B, C, h, w] and [B, 1, h, w]."""
        if isinstance(self.backbone, Dense):
            maps, plane = self.backbone.salient(images)
            return maps.float(), plane
        maps = self.backbone(images).float()
        return maps, norms(maps)

    @torch.inference_mode()
    def map_boxes(self, pixels: np.ndarray) -> np.ndarray:
        """Return the boxes that the maps of whole photos show: uint8 [B, H, W, 3] -> float32 [B, 4 · ``MOST``].

        See ``orl.map_boxes.boxes_of_map``.
        """
        return np.stack([boxes_of_map(each).ravel() for each in self._maps(pixels).cpu().numpy()])

    @torch.inference_mode()
    def class_attention(self, pixels: np.ndarray) -> np.ndarray | None:
        """Return how much the class token attends to each cell of one image: uint8 [H, W, 3] -> float32 [h, w].

        None if the encoder has no class token, or computes its attention in a way that cannot be seen.
        """
        with whole_fp32(self.mean.device):
            found = self.backbone.attended(self._images(pixels[None])) if isinstance(self.backbone, Dense) else None
        return None if found is None else found[0].cpu().numpy()

    @torch.inference_mode()
    def feature_map(self, pixels: np.ndarray) -> np.ndarray:
        """Return the map of one image: uint8 [H, W, 3] -> float32 [C, h, w]."""
        return self._maps(pixels[None])[0].cpu().numpy()


@contextmanager
def whole_fp32(device: torch.device) -> Iterator[None]:
    """Multiply fp32 numbers with all their bits inside the block. GPUs round factors to 10 bits else, which is TF32."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def _in_cells(maps: Tensor) -> Tensor:
    """Pool or enlarge maps to the cells that are stored: float [B, C, h, w] -> [B, C, ``ATTENTION_CELLS`` squared]."""
    if min(maps.shape[2:]) >= ATTENTION_CELLS:
        return F.adaptive_avg_pool2d(maps, ATTENTION_CELLS)
    return F.interpolate(maps, (ATTENTION_CELLS,) * 2, mode="bilinear", antialias=True)


def _looks(features: Tensor) -> Tensor:
    """Return vectors whose products approximate the cosines of a photo's cells: float [C, h, w] -> [LOOKS, h · w].

    They are the best approximation of this length: the largest principal components, about the origin, of the cells'
    unit features. They are computed for each photo alone, so that they do not depend on the batch.
    """
    unit = F.normalize(features.flatten(1), dim=0)
    values, vectors = torch.linalg.eigh(unit.T @ unit)
    looks = (values.clamp_min(0).sqrt() * vectors)[:, -ATTENTION_LOOKS:].T
    return F.pad(looks, (0, 0, 0, ATTENTION_LOOKS - len(looks)))
