# %% [markdown]
# # Fine-tune on your own data
#
# The decoder is trained on cached embeddings, so that a laptop suffices. Here the data are a few
# drawn scenes, which need no download, and there are few steps: it shows how, not how well. With
# your own data, `data.train` is `coco:train.json` or a folder ([all forms](../training.md#data)).

# %%
from pathlib import Path
from tempfile import mkdtemp

import samkit
from samkit.evaluation import validation_scores
from samkit.training import finetune, override, train

folder = Path(mkdtemp())
settings = [
    "data.train=scenes:count=6,size=160",
    "data.val=scenes:count=2,size=160,seed=9",
    "data.images_per_batch=2",
    "data.max_masks_per_image=2",
    f"embeddings={folder / 'embeddings'}",
    "run.steps=3",
    "evaluation.masks_per_image=2",
]
recipe = override(finetune(), settings)
trained = train(recipe, folder / "mine", evaluate=validation_scores(recipe))
print(trained.best.name, f"{trained.best_score:.3f}")

# %% [markdown]
# The best weights are an ordinary checkpoint:

# %%
predictor = samkit.Predictor.load(trained.best)
print(predictor.describe())
sorted(path.name for path in (folder / "mine").iterdir())

# %% [markdown]
# A run that was stopped goes on with `--resume` on the command line:
#
#     samkit train finetune data.train=coco:train.json data.val=coco:val.json -o mine --resume
#     samkit evaluate val.json --model mobile_sam --model mine/best.safetensors
