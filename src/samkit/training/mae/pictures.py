"""Pictures of a masked autoencoder's reconstructions.

Shape legend: B images, N patches, P values of a patch, S side of the images.
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
    """Draw each image, its visible patches and its reconstruction side by side.

    Hidden patches are grey in the second picture; visible ones are copied into the third. For
    normalised targets, reconstructed patches get the true patch's mean and std.

    Args:
        task: task in evaluation mode.
        pixels_B3SS: normalised images.
        generator: random generator, from which hidden patches are drawn.

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
    images = [to_colours(unpatchify(panel, patch_size)) for panel in panels]
    return [concatenate_panels(list(triple), axis=1) for triple in zip(*images, strict=True)]


def to_colours(pixels_B3SS: Tensor) -> npt.NDArray[np.uint8]:
    """Convert normalised images to uint8 RGB (B, S, S, 3)."""
    mean = torch.tensor(ImageSpec().mean, device=pixels_B3SS.device)[:, None, None]
    std = torch.tensor(ImageSpec().std, device=pixels_B3SS.device)[:, None, None]
    colours = (pixels_B3SS * std + mean).round().clamp(0, WHITE).byte()
    return colours.permute(0, 2, 3, 1).cpu().numpy()


def concatenate_panels(panels: list[npt.NDArray[np.uint8]], *, axis: int) -> npt.NDArray[np.uint8]:
    """Stack panels (H, W, 3) of one size vertically (axis 0) or side by side, with white gaps."""
    shape = list(panels[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, WHITE, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)]
    return np.concatenate(parts[1:], axis=axis)
