"""Proposal task: a head learns boxes on frozen features."""

from pathlib import Path

import torch
from torch import Tensor

from samkit.models import ProposalHead
from samkit.training.proposals.assign import NEAR, assign, proposal_losses
from samkit.training.proposals.data import ProposalBatch
from samkit.training.proposals.recipe import ProposalLossRecipe
from samkit.training.task import Batch, StepResult, Task
from samkit.weights import save_proposal_head


class ProposalTask(Task):
    """A proposal head and its loss.

    Attributes:
        head: the network.
        recipe: assignment and losses.
        encoder_checksum: SHA-256 of the image encoder whose features it reads.
    """

    def __init__(
        self, head: ProposalHead, recipe: ProposalLossRecipe, *, encoder_checksum: str
    ) -> None:
        super().__init__()
        self.head, self.recipe, self.encoder_checksum = head, recipe, encoder_checksum

    def forward(self, batch: Batch, generator: torch.Generator) -> StepResult:  # noqa: ARG002
        assert isinstance(batch, ProposalBatch)
        assert batch.features is not None
        near_px = self.head.config.strides[0] * NEAR
        sums: list[Tensor] = []
        for index, visible_wh in enumerate(batch.visible_wh.tolist()):
            features = self.head.crop(batch.features[index : index + 1], visible_wh)
            logits_1N, boxes_1N4 = self.head(features)
            logits_N, boxes_N4 = logits_1N[0], boxes_1N4[0]
            centers_N2 = self.head.centers(*features.shape[-2:]).to(logits_N.device)
            own = batch.image_index == index
            truths, weights = batch.boxes_xyxy[own], batch.weights[own]
            counts_N = (centers_N2 < batch.visible_wh[index]).all(-1)
            with torch.no_grad():
                assigned = assign(
                    logits_N.sigmoid(),
                    boxes_N4,
                    centers_N2,
                    truths,
                    weights,
                    near_px=near_px,
                    recipe=self.recipe,
                )
            losses = proposal_losses(
                logits_N,
                boxes_N4,
                truths,
                assigned,
                counts_N=counts_N,
                focus=self.recipe.focus,
            )
            sums.append(torch.stack(losses))
        objectness, boxes, quality = torch.stack(sums).sum(0)
        quality = quality.detach().clamp(min=1.0)
        loss = (objectness + self.recipe.box_weight * boxes) / quality
        parts = {
            "objectness_loss": (objectness / quality).detach(),
            "box_loss": (boxes / quality).detach(),
            "quality": quality / max(1, len(batch.boxes_xyxy)),
        }
        return StepResult(loss, parts)

    def weight(self, batch: Batch) -> int:
        """The loss is a mean over images' objects; images stand for them."""
        return len(batch.keys)

    def export(self, path: Path) -> None:
        """Write the head.

        Raises:
            OutputError: the file cannot be written.
        """
        save_proposal_head(self.head, path, encoder_checksum=self.encoder_checksum)
