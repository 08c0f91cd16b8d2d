"""Configurations of the known models by name, and the networks of their kinds."""

from samkit.models.hiera import HieraConfig
from samkit.models.mask_decoder import MaskDecoderConfig
from samkit.models.memory import MemoryConfig
from samkit.models.perceiver import PerceiverConfig
from samkit.models.repvit import RepViTConfig
from samkit.models.sam import Sam, SamConfig
from samkit.models.sam2 import Sam2, Sam2Config
from samkit.models.tiny_vit import TinyViTConfig
from samkit.models.vit import ViTConfig

HIERA = {
    "tiny": HieraConfig(embed_dim=96, num_heads=1, depths=(1, 2, 7, 2), global_blocks=(5, 7, 9)),
    "small": HieraConfig(
        embed_dim=96, num_heads=1, depths=(1, 2, 11, 2), global_blocks=(7, 10, 13)
    ),
    "base_plus": HieraConfig(
        embed_dim=112,
        num_heads=2,
        depths=(2, 3, 16, 3),
        global_blocks=(12, 16, 20),
        pos_grid=14,
    ),
    "large": HieraConfig(
        embed_dim=144,
        num_heads=2,
        depths=(2, 6, 36, 4),
        global_blocks=(23, 33, 43),
        window_sizes=(8, 4, 16, 8),
    ),
}

CONFIGS: dict[str, SamConfig] = {
    "mobile_sam": SamConfig(
        encoder=TinyViTConfig(
            embed_dims=(64, 128, 160, 320),
            depths=(2, 2, 6, 2),
            num_heads=(2, 4, 5, 10),
            window_sizes=(7, 7, 14, 7),
        )
    ),
    "sam_vit_b": SamConfig(
        encoder=ViTConfig(embed_dim=768, depth=12, num_heads=12, global_blocks=(2, 5, 8, 11))
    ),
    "sam_vit_l": SamConfig(
        encoder=ViTConfig(embed_dim=1024, depth=24, num_heads=16, global_blocks=(5, 11, 17, 23))
    ),
    "sam_vit_h": SamConfig(
        encoder=ViTConfig(embed_dim=1280, depth=32, num_heads=16, global_blocks=(7, 15, 23, 31))
    ),
    **{f"sam2.1_hiera_{size}": Sam2Config(encoder=encoder) for size, encoder in HIERA.items()},
    **{
        f"sam2_hiera_{size}": Sam2Config(encoder=encoder, memory=MemoryConfig(is_revised=False))
        for size, encoder in HIERA.items()
    },
    "edgetam": Sam2Config(
        encoder=RepViTConfig(),
        memory=MemoryConfig(num_layers=2, is_revised=False, perceiver=PerceiverConfig()),
    ),
    # Small enough to be trained from nothing on a CPU; not a published model.
    "small": SamConfig(
        encoder=ViTConfig(
            embed_dim=96,
            depth=6,
            num_heads=3,
            global_blocks=(1, 3, 5),
            image_size=256,
            window_size=8,
            out_channels=64,
        ),
        decoder=MaskDecoderConfig(dim=64, num_heads=4, mlp_dim=256, iou_hidden_dim=64),
    ),
    # Small enough to train in a test; not a published model.
    "tiny": SamConfig(
        encoder=ViTConfig(
            embed_dim=32,
            depth=4,
            num_heads=2,
            global_blocks=(1, 3),
            image_size=128,
            window_size=3,
            out_channels=32,
        ),
        decoder=MaskDecoderConfig(dim=32, num_heads=4, mlp_dim=64, iou_hidden_dim=32),
    ),
    # A student for "tiny" in distillation; not a published model.
    "tiny_mobile": SamConfig(
        encoder=TinyViTConfig(
            embed_dims=(16, 16, 32, 32),
            depths=(1, 1, 2, 1),
            num_heads=(1, 1, 2, 2),
            window_sizes=(4, 4, 8, 4),
            image_size=128,
            out_channels=32,
        ),
        decoder=MaskDecoderConfig(dim=32, num_heads=4, mlp_dim=64, iou_hidden_dim=32),
    ),
    # Likewise, of SAM 2's kind.
    "tiny_sam2": Sam2Config(
        encoder=HieraConfig(
            embed_dim=16,
            num_heads=1,
            depths=(1, 1, 2, 1),
            global_blocks=(3,),
            pos_grid=3,
            window_sizes=(4, 4, 6, 3),
            image_size=128,
            out_channels=128,
        ),
        decoder=MaskDecoderConfig(dim=128, num_heads=4, mlp_dim=128, iou_hidden_dim=128),
        memory=MemoryConfig(num_layers=2, mlp_dim=128, num_frames=4, num_pointers=5),
    ),
    # Likewise, of EdgeTAM's kind.
    "tiny_edgetam": Sam2Config(
        encoder=RepViTConfig(
            stage_dims=(16, 24, 32, 48), depths=(1, 1, 2, 1), image_size=128, out_channels=128
        ),
        decoder=MaskDecoderConfig(dim=128, num_heads=4, mlp_dim=128, iou_hidden_dim=128),
        memory=MemoryConfig(
            num_layers=2,
            mlp_dim=128,
            num_frames=4,
            num_pointers=5,
            is_revised=False,
            perceiver=PerceiverConfig(num_global=6, grid=4),
        ),
    ),
    # A SAM 2 small enough to be trained on videos from nothing on a CPU; not a published model.
    "nano_sam2": Sam2Config(
        encoder=HieraConfig(
            embed_dim=16,
            num_heads=1,
            depths=(1, 1, 2, 1),
            global_blocks=(3,),
            pos_grid=2,
            window_sizes=(4, 4, 4, 2),
            image_size=128,
            out_channels=64,
        ),
        decoder=MaskDecoderConfig(dim=64, num_heads=4, mlp_dim=128, iou_hidden_dim=64),
        memory=MemoryConfig(num_layers=2, mlp_dim=128, num_pointers=8, dropout=0.0),
    ),
}

# The network of each kind of configuration. A new kind is a new entry here.
NETWORKS: dict[type[SamConfig], type[Sam]] = {SamConfig: Sam, Sam2Config: Sam2}


def build_sam(config: SamConfig) -> Sam:
    """Build the network of a configuration, with random weights."""
    return NETWORKS[type(config)](config)
