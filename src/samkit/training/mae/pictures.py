"""Pictures of what a masked autoencoder draws.

Shape legend: B images, N patches, P numbers of a patch, S side of the frame.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samkit.image_spec import ImageSpec
from samkit.training.mae.task import MaeTask, hidden_patches, patch_scale, patchify, unpatchify

GAP_PX = 4
WHITE = 255


@torch.no_grad()
def reconstruction_pictures(
    task: MaeTask, pixels_B3SS: Tensor, generator: torch.Generator
) -> list[npt.NDArray[np.uint8]]:
    """Each frame as it is, as the encoder sees it, and as it is drawn, side by side.

    What is hidden is grey in the second; in the third, what was visible is as it is. Where the
    target is normalised patches, drawn ones have the true patch's mean and standard deviation.

    Args:
        task: in evaluation mode.
        pixels_B3SS: normalised frames.
        generator: of what is hidden.

    Returns:
        B pictures uint8 RGB (S, 3 S + 2 gaps, 3).
    """
    patch_size = task.encoder.config.patch_size
    patches_BNP = patchify(pixels_B3SS, patch_size)
    visible_BV = task.draw_visible(len(pixels_B3SS), generator)
    hidden_BN1 = hidden_patches(visible_BV, patches_BNP.shape[1])[..., None]
    predicted_BNP = task.reconstruct(pixels_B3SS, visible_BV).float()
    if task.config.normalise_patches:
        mean, std = patch_scale(patches_BNP)
        predicted_BNP = predicted_BNP * std + mean
    panels = (
        patches_BNP,
        patches_BNP.masked_fill(hidden_BN1, 0),
        torch.where(hidden_BN1, predicted_BNP, patches_BNP),
    )
    frames = [to_colours(unpatchify(panel, patch_size)) for panel in panels]
    return [concatenate_panels(list(triple), axis=1) for triple in zip(*frames, strict=True)]


def to_colours(pixels_B3SS: Tensor) -> npt.NDArray[np.uint8]:
    """Normalised frames as uint8 RGB (B, S, S, 3)."""
    mean = torch.tensor(ImageSpec().mean, device=pixels_B3SS.device)[:, None, None]
    std = torch.tensor(ImageSpec().std, device=pixels_B3SS.device)[:, None, None]
    colours = (pixels_B3SS * std + mean).round().clamp(0, WHITE).byte()
    return colours.permute(0, 2, 3, 1).cpu().numpy()


def concatenate_panels(panels: list[npt.NDArray[np.uint8]], *, axis: int) -> npt.NDArray[np.uint8]:
    """Panels (H, W, 3) of one size, below one another (axis 0) or side by side, white between."""
    shape = list(panels[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, WHITE, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)]
    return np.concatenate(parts[1:], axis=axis)
