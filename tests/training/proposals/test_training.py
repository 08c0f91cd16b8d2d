"""Training of a proposal head: data, resuming, export, and that it learns."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import samkit
from samkit.backends import create_backend
from samkit.datasets import Sample
from samkit.errors import ConfigError, DataError, WeightsError
from samkit.geometry import encode_rle
from samkit.predict import EmbeddingCache
from samkit.training import PROPOSAL_RECIPES, override, train
from samkit.training.data.embeddings import CachingEncoder
from samkit.training.proposals.data import ProposalLoader
from samkit.training.proposals.recipe import ProposalDataRecipe
from samkit.weights import load_proposal_head, save_checkpoint


class Squares:
    """Images of 64 x 96 with one bright square each."""

    def __init__(self, count=6, *, broken=(), rles_of=None):
        self.count, self.broken, self.rles_of = count, broken, rles_of

    def __len__(self):
        return self.count

    def key(self, index):
        return f"folder/{index}.png"

    def __getitem__(self, index):
        if index in self.broken:
            raise DataError("broken")
        image = np.full((64, 96, 3), 40, np.uint8)
        mask = np.zeros((64, 96), bool)
        mask[8 * (index % 3) : 8 * (index % 3) + 24, 10 * index : 10 * index + 32] = True
        image[mask] = 220
        rles = (encode_rle(mask),) if self.rles_of is None else self.rles_of(index, mask)
        return Sample(key=self.key(index), image=image, rles=rles)


@pytest.fixture
def checkpoint(tiny_sam, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny_sam, path, name="tiny")
    return path


@pytest.fixture
def encoder(tiny_sam, tmp_path):
    backend = create_backend(tiny_sam, backend="torch", precision="float32")
    predictor = samkit.Predictor(tiny_sam, model_name="tiny", backend=backend)
    cache = EmbeddingCache(tmp_path / "embeddings", dtype="float16")
    return CachingEncoder(predictor, cache, num_images=6)


def recipe_of(checkpoint, tmp_path, *changes):
    channels = samkit.load_model(checkpoint).model.config.encoder.out_channels
    return override(
        PROPOSAL_RECIPES["proposals"](),
        [
            f"model={checkpoint}",
            f"embeddings={tmp_path / 'embeddings'}",
            f"head.in_channels={channels}",
            "head.width=16",
            "head.fine_width=8",
            "data.images_per_batch=2",
            "run.steps=4",
            "run.save_every=2",
            *changes,
        ],
    )


def loader_of(source, encoder, **options):
    recipe = ProposalDataRecipe(images_per_batch=2)
    return ProposalLoader(source, encoder, recipe, seed=0, **options)


def test_boxes_are_those_of_the_masks_in_the_models_space(encoder):
    batch = next(loader_of(Squares(), encoder))
    scale = 128 / 96
    for index, key in enumerate(batch.keys):
        number = int(key.split("/")[1][0])
        box = batch.boxes_xyxy[batch.image_index == index]
        x, y = 10 * number, 8 * (number % 3)
        expected = np.array([x, y, min(96, x + 32), y + 24]) * scale
        assert np.allclose(box.numpy(), expected, atol=0.6)
    assert batch.visible_wh.tolist() == [[128, 85]] * 2
    assert batch.features is not None
    assert encoder.num_encoded == 2


def test_broken_images_are_skipped_and_images_without_masks_are_not(encoder):
    loader = loader_of(Squares(3, broken=(0,), rles_of=lambda *_: ()), encoder)
    keys = [key for _ in range(3) for key in next(loader).keys]
    assert set(keys) == {"folder/1.png", "folder/2.png"}
    with pytest.raises(DataError, match="full epoch"):
        next(loader_of(Squares(2, broken=(0, 1)), encoder))


def test_the_order_can_be_resumed(encoder):
    one, other = loader_of(Squares(), encoder), loader_of(Squares(), encoder)
    for _ in range(2):
        next(one)
    other.load_state_dict(one.state_dict())
    assert next(one).keys == next(other).keys


def test_automatic_masks_are_added_where_no_mask_shows_the_same(encoder):
    def other_rles(_index, mask):
        corner = np.zeros_like(mask)
        corner[-8:, -8:] = True
        return encode_rle(mask), encode_rle(corner)

    batch = next(loader_of(Squares(), encoder, automatic=Squares(rles_of=other_rles)))
    assert batch.weights.tolist() == [1.0, 0.5] * 2
    with pytest.raises(DataError, match="file names"):
        loader_of(Squares(1), encoder, automatic=Renamed())


class Renamed(Squares):
    def key(self, index):
        return f"other{index}.png"


def test_a_training_lowers_the_loss_and_writes_a_head(checkpoint, tmp_path):
    losses = []
    recipe = recipe_of(
        checkpoint, tmp_path, "run.steps=40", "optim.warmup_steps=2", "optim.lr=1e-2"
    )
    trained = train(
        recipe,
        tmp_path / "run",
        source=Squares(),
        on_step=lambda progress: losses.append(progress.values["loss"]),
    )
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    checksum = samkit.Predictor.load(checkpoint).encoder_checksum
    head = load_proposal_head(trained.last, encoder_checksum=checksum)
    assert head.config.width == 16
    with pytest.raises(WeightsError, match="another image encoder"):
        load_proposal_head(trained.last, encoder_checksum="0" * 64)
    again = recipe_of(checkpoint, tmp_path, f"weights={trained.last}", "run.steps=1")
    assert train(again, tmp_path / "again", source=Squares()).last.exists()


def test_a_resumed_training_equals_an_uninterrupted_one(checkpoint, tmp_path):
    recipe = recipe_of(checkpoint, tmp_path)
    full = train(recipe, tmp_path / "full", source=Squares())

    def stop(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "halted", source=Squares(), on_step=stop)
    resumed = train(recipe, tmp_path / "halted", source=Squares(), resume=True)
    one, other = load_file(resumed.last), load_file(full.last)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_recall_of_boxes_is_measured_in_training(checkpoint, tmp_path):
    from PIL import Image

    source, folder = Squares(2), tmp_path / "val"
    folder.mkdir()
    images, annotations = [], []
    for index in range(2):
        sample = source[index]
        Image.fromarray(sample.image).save(folder / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "width": 96, "height": 64})
        fields = {"id": index, "image_id": index, "category_id": 1, "iscrowd": 0}
        annotations.append(fields | {"segmentation": dict(sample.rles[0]), "area": 1})
    coco = {"images": images, "annotations": annotations}
    path = tmp_path / "val.json"
    path.write_text(json.dumps(coco | {"categories": [{"id": 1, "name": "square"}]}))
    scores = []
    train(
        recipe_of(checkpoint, tmp_path, f"data.val=coco:{path}"),
        tmp_path / "run",
        source=source,
        on_step=lambda progress: scores.append(progress.scores),
    )
    assert set(scores[-1]) == {"box_ar_100", "box_ar_10"}
    assert 0 <= scores[-1]["box_ar_10"] <= scores[-1]["box_ar_100"] <= 1


def test_a_head_must_fit_the_features(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match=r"head\.in_channels"):
        train(
            recipe_of(checkpoint, tmp_path, "head.in_channels=7"), tmp_path / "x", source=Squares()
        )


def test_files_of_other_kinds_are_refused(checkpoint, tmp_path):
    with pytest.raises(WeightsError, match="not a proposal head"):
        load_proposal_head(checkpoint, encoder_checksum="0" * 64)
    with pytest.raises(WeightsError, match="no such file"):
        load_proposal_head(tmp_path / "none.safetensors", encoder_checksum="0" * 64)
    torch.save({}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="damaged"):
        load_proposal_head(tmp_path / "x.safetensors", encoder_checksum="0" * 64)
