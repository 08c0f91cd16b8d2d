"""Plot a training run: 1-click mIoU on unseen images, by minutes of training.

samkit train scenes_long -o scenes_long
python benchmarks/training_curve.py scenes_long -o docs/images/scenes_curve.png
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from samkit.evaluation.plots import COLORS, DPI, SIZE_INCHES
from samkit.files import replacing
from samkit.training import SCORES, STEPS


def read(path: Path) -> np.ndarray:
    """Read a log as an array with named columns."""
    return np.genfromtxt(path, delimiter=",", names=True)


def main() -> None:
    """Draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG file")
    options = parser.parse_args()
    steps, scores = read(options.run / STEPS), read(options.run / SCORES)
    # Only some steps are logged; the steps between two rows are assumed to take equally long.
    seconds = np.cumsum(np.diff(steps["step"], prepend=0) * steps["seconds"])
    minutes = np.interp(scores["step"], steps["step"], seconds) / 60
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axis = figure.subplots()
    axis.plot(minutes, scores["oracle_miou"], color=COLORS[2], marker=".", label="best of three")
    axis.plot(minutes, scores["miou"], color=COLORS[0], marker=".", label="top-ranked")
    axis.set(xlabel="minutes of training", ylabel="1-click mIoU, unseen scenes", ylim=(0, 1))
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")
    with replacing(options.output) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    print(f"{options.output}: {scores['miou'][-1]:.3f} after {minutes[-1]:.1f} minutes")


if __name__ == "__main__":
    main()
