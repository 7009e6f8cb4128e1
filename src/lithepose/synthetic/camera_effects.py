"""What a camera does to a picture: blur, coarse pixels, exposure, colour, noise, compression."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lithepose.synthetic.batch_rng import BatchRng, turned, wide
from lithepose.synthetic.rasteriser import resized

_BLUR = 9  # pixels, side of the blur's kernel


def camera_effects(picture: Tensor, rng: BatchRng) -> Tensor:
    """Blur, coarse pixels, exposure, colour, noise and compression, each for some pictures."""
    count, _, height, width = picture.shape
    # A round spot, drawn out along a line by motion.
    reach = torch.arange(_BLUR, device=picture.device) - _BLUR // 2
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    sharp = rng.uniform(0.3, 0.75)
    spread = torch.where(rng.chance(0.25), rng.uniform(0.75, 2.0), sharp)
    drawn = torch.where(rng.chance(0.15), rng.uniform(0.5, 3.0), 0.0)
    along, across = turned(rng.uniform(0, 3.14), x, y)
    longer = wide(spread**2 + drawn**2)
    kernel = torch.exp(-(along**2) / (2 * longer) - across**2 / (2 * wide(spread) ** 2))
    kernel = (kernel / kernel.sum((1, 2), keepdim=True)).repeat_interleave(3, 0)[:, None]
    padded = F.pad(picture, (_BLUR // 2,) * 4, mode="replicate").flatten(0, 1)[None]
    picture = F.conv2d(padded, kernel, groups=3 * count).view(count, 3, height, width)

    # Small people, enlarged.
    kind = wide(rng.uniform(), 3)
    for factor, low, high in ((2, 0.0, 0.22), (4, 0.22, 0.30)):
        small = resized(F.avg_pool2d(picture, factor), (width, height))
        picture = torch.where((kind >= low) & (kind < high), small, picture)

    exposure = torch.exp(0.2 * rng.normal())
    balance = torch.exp(0.05 * rng.normal(3))
    contrast = torch.exp(0.16 * rng.normal())
    gain = (contrast * exposure)[:, None] * balance
    picture = torch.addcmul(wide(0.45 * (1 - contrast), 3), wide(gain), picture)
    grey = picture.mean(1, keepdim=True)
    saturation = torch.where(rng.chance(0.06), 0.0, torch.exp(0.2 * rng.normal()))
    picture = torch.lerp(grey, picture, wide(saturation, 3))
    picture = picture.clamp(0, 1) ** wide(torch.exp(0.15 * rng.normal()), 3)
    noise = torch.where(rng.chance(0.2), rng.uniform(0.02, 0.06), rng.uniform(0, 0.02))
    grain = rng.normal(3, height, width)
    # Sensors and what reads them out make noise that is half alike in the three colours.
    picture = torch.addcmul(picture, wide(noise, 3), 0.6 * grain + 0.7 * grain.roll(1, 1))
    return _compress(picture.clamp(0, 1), rng)


def _compress(picture: Tensor, rng: BatchRng) -> Tensor:
    """JPEG without its file: the cosine transform of 8 x 8 blocks, rounded to coarse steps."""
    count, _, height, width = picture.shape
    device = picture.device
    k = torch.arange(8, device=device, dtype=torch.float32)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * torch.pi / 16) / 2
    basis[0] /= 2**0.5
    to_ycc = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], device=device
    )
    to_rgb = torch.tensor(
        [[1.0, 0.0, 1.402], [1.0, -0.344, -0.714], [1.0, 1.772, 0.0]], device=device
    )
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, picture)
    blocks = ycc.view(count, 3, height // 8, 8, width // 8, 8).transpose(3, 4)
    terms = basis @ blocks @ basis.T
    # Steps grow with the frequency and are twice as coarse in colour, about as in the usual tables.
    ramp = 1 + 0.55 * (k[:, None] + k[None])
    coarse = torch.where(rng.chance(0.6), torch.exp(rng.uniform(-5.0, -2.7)), 1e-4)
    step = wide(coarse, 5) * ramp * wide(torch.tensor([1.0, 2.0, 2.0], device=device), 4)
    terms = (terms / step).round() * step
    blocks = basis.T @ terms @ basis
    ycc = blocks.transpose(3, 4).reshape(count, 3, height, width)
    return torch.einsum("ij,bjhw->bihw", to_rgb, ycc)
