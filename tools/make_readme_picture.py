"""Draw docs/images/prompts.jpg: one image with three prompts and their masks."""

from pathlib import Path

import numpy as np
from PIL import Image

import samkit
from samkit.drawing import draw_boxes, draw_masks, draw_points
from samkit.formats import read_image

IMAGE = Path("src/samkit/assets/coffee.jpg")
OUTPUT = Path("docs/images/prompts.jpg")
PROMPTS = [
    {"points": [[220, 170]], "labels": [1]},
    {"points": [[215, 285], [365, 290]], "labels": [1, 0], "boxes": [168, 12, 412, 310]},
    {"points": [[365, 290], [330, 320]], "labels": [1, 0]},
]


def main() -> None:
    """Segment the image and draw the panels."""
    image = read_image(IMAGE)
    predictor = samkit.Predictor.load()
    embedding = predictor.embed(image)
    panels = []
    for prompt in PROMPTS:
        masks = predictor.predict(embedding, **prompt).best().masks
        panel = draw_masks(image, masks)
        if "boxes" in prompt:
            panel = draw_boxes(panel, np.array([prompt["boxes"]]))
        panels.append(draw_points(panel, np.array(prompt["points"]), np.array(prompt["labels"])))
    Image.fromarray(np.concatenate(panels, axis=1)).save(OUTPUT, quality=88)


if __name__ == "__main__":
    main()
