# %% [markdown]
# # Annotate a folder of images
#
# `samkit annotate images/` opens the studio in a browser. What it does is a library, too: here a
# program takes the place of the person, from an empty store to a COCO file.

# %%
import shutil
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp

import samkit
from samkit.dataengine import (
    NewEvent,
    Store,
    add_class,
    add_images,
    create_project,
    create_user,
    export_project,
    list_images,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.geometry import encode_rle

folder = Path(mkdtemp())
shutil.copy(files("samkit") / "assets" / "coffee.jpg", folder)
store = Store.open(folder / "project.db")
ada = create_user(store, name="ada", role="admin", password="only-for-this-page")
project = create_project(store, name="cups", root=folder)
report = add_images(store, project.id)
(image,) = list_images(store, project.id).items
print(image.path, image.size_hw)

# %% [markdown]
# A person takes an image, which nobody else can have then, clicks, and accepts. The history of the
# mask has its prompts: from these, the model learns later.

# %%
predictor = samkit.Predictor.load()
take_image(store, image.id, ada.id)
click = [0.5 * image.size_hw[1], 0.33 * image.size_hw[0]]
answer = predictor.predict(predictor.embed(folder / image.path), points=[click])
saved = save_annotation(
    store,
    image_id=image.id,
    user_id=ada.id,
    rle=encode_rle(answer.best().masks[0]),
    class_id=add_class(store, project.id, "cup").id,
    events=[NewEvent(kind="point", data={"xy": click, "label": 1}, duration_ms=900)],
    score=float(answer.iou_pred.max()),
)
submitted = submit_image(store, image.id, ada.id)
print(saved.stage, "-", submitted.review)

# %% [markdown]
# Exports are for other programs: COCO, YOLO, Label Studio, CVAT, VOC, and more.

# %%
export_project(store, project.id, folder / "out", file_format="coco")
store.close()
sorted(str(path.relative_to(folder)) for path in (folder / "out").rglob("*.json"))
