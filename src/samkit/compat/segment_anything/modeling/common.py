"""Layers shared by the encoder and the decoder."""

from torch import nn

from samkit.models import LayerNorm2d, TransformerMlp

__all__ = ["LayerNorm2d", "MLPBlock"]


class MLPBlock(TransformerMlp):
    """Two linear layers with an activation between them: C -> mlp_dim -> C."""

    def __init__(self, embedding_dim: int, mlp_dim: int, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__(embedding_dim, mlp_dim, act)
