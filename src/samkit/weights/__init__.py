"""Checkpoint files: embedded in the package, local, or on the Hugging Face hub.

`load_model` turns a name or a path into a model. The catalog and the hub do not import torch.
"""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names
from samkit.weights.catalog import (
    CATALOG,
    DEFAULT_MODEL,
    PUBLISHED_IOU_THRESH,
    TEXT_CATALOG,
    check_source,
)
from samkit.weights.hub import (
    CONFIG_FILE,
    asking_hub,
    check_reachable,
    fetch,
    find_cached,
    find_local,
    has_tokenizer,
)

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.weights.checkpoint import (
        MODEL_KEY,
        SHOWN_MISFITS,
        TextEncoder,
        check_fits,
        identify,
        misfits,
        model_config,
        read_checkpoint,
        save_checkpoint,
        save_decoder,
        weights_sha256,
        weights_sha256_of_bytes,
    )
    from samkit.weights.layouts import to_own_names
    from samkit.weights.load import load_model, own_iou_thresh
    from samkit.weights.programs import read_program_tensors
    from samkit.weights.proposal_heads import (
        find_proposal_head,
        load_proposal_head,
        save_proposal_head,
    )
    from samkit.weights.sam2_layouts import from_sam2_original, to_sam2_original

__all__ = [
    "CATALOG",
    "CONFIG_FILE",
    "DEFAULT_MODEL",
    "MODEL_KEY",
    "PUBLISHED_IOU_THRESH",
    "SHOWN_MISFITS",
    "TEXT_CATALOG",
    "TextEncoder",
    "asking_hub",
    "check_fits",
    "check_reachable",
    "check_source",
    "fetch",
    "find_cached",
    "find_local",
    "find_proposal_head",
    "from_sam2_original",
    "has_tokenizer",
    "identify",
    "load_model",
    "load_proposal_head",
    "misfits",
    "model_config",
    "own_iou_thresh",
    "read_checkpoint",
    "read_program_tensors",
    "save_checkpoint",
    "save_decoder",
    "save_proposal_head",
    "to_own_names",
    "to_sam2_original",
    "weights_sha256",
    "weights_sha256_of_bytes",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MODEL_KEY": "checkpoint",
        "SHOWN_MISFITS": "checkpoint",
        "TextEncoder": "checkpoint",
        "check_fits": "checkpoint",
        "find_proposal_head": "proposal_heads",
        "identify": "checkpoint",
        "load_model": "load",
        "load_proposal_head": "proposal_heads",
        "misfits": "checkpoint",
        "model_config": "checkpoint",
        "own_iou_thresh": "load",
        "read_checkpoint": "checkpoint",
        "read_program_tensors": "programs",
        "save_checkpoint": "checkpoint",
        "save_decoder": "checkpoint",
        "save_proposal_head": "proposal_heads",
        "from_sam2_original": "sam2_layouts",
        "to_own_names": "layouts",
        "to_sam2_original": "sam2_layouts",
        "weights_sha256": "checkpoint",
        "weights_sha256_of_bytes": "checkpoint",
    },
)
