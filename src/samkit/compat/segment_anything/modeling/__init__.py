"""The networks under the original's names."""

from samkit.compat.segment_anything.modeling.image_encoder import ImageEncoderViT
from samkit.compat.segment_anything.modeling.mask_decoder import MaskDecoder
from samkit.compat.segment_anything.modeling.prompt_encoder import PromptEncoder
from samkit.compat.segment_anything.modeling.sam import Sam
from samkit.compat.segment_anything.modeling.transformer import TwoWayTransformer

__all__ = ["ImageEncoderViT", "MaskDecoder", "PromptEncoder", "Sam", "TwoWayTransformer"]
