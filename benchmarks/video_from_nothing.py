"""The memory of a very small SAM 2, trained from nothing on generated clips, against copying.

    python benchmarks/video_from_nothing.py -o video-from-nothing

trains the recipe `video_scenes`, resuming if it was stopped, and follows the objects of clips that
were used neither for training nor for selection (seed 7), whose first mask is given: J&F of the
trained memory by several policies, and of copying the first mask into all frames. Writes
report.json. Settings may be changed as for `samkit train`, such as run.steps=100.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from samkit import VideoPredictor
from samkit.datasets import open_videos
from samkit.evaluation import held_out_clips, score_clips, score_copies, video_scores
from samkit.files import write_bytes
from samkit.training import VIDEO_RECIPES, Progress, override, train

TEST_DATA = "moving:named:count=100,size=128,seed=7,things=4"
MIN_MARGIN = 0.15  # in J&F, by which the memory must beat copies


def main() -> None:
    """Train, measure and print the scores."""
    parser = argparse.ArgumentParser(description="A memory from nothing.")
    parser.add_argument("-o", "--output", type=Path, default=Path("video-from-nothing"))
    parser.add_argument("--clips", type=int, default=60, help="number of clips to measure")
    parser.add_argument("--frames", type=int, default=8, help="their length")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    recipe = override(VIDEO_RECIPES["video_scenes"](), options.changes)
    started, cpu = time.monotonic(), time.process_time()
    trained = train(
        recipe,
        options.output,
        evaluate=video_scores(recipe),
        on_step=report_step,
        resume=True,
    )
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
    clips = held_out_clips(open_videos(TEST_DATA), options.clips, options.frames)
    scores: dict[str, Any] = {"copies": score_copies(clips)}
    for policy in ("plain", "hypotheses"):
        tracker = VideoPredictor.load(trained.best, backend="torch", policy=policy).tracker
        scores[policy] = score_clips(tracker, clips)
    margin = scores["plain"]["j_and_f"] - scores["copies"]["j_and_f"]
    report = {
        "steps": recipe.run.steps,
        "seconds": seconds,
        "processor_seconds": cpu_seconds,
        "clips": len(clips),
        "scores": scores,
        "passed": margin >= MIN_MARGIN,
    }
    write_bytes(options.output / "report.json", json.dumps(report, indent=2).encode())
    print(json.dumps(report, indent=2))


def report_step(progress: Progress) -> None:
    """Print every 25th step."""
    if progress.step % 25 == 0:
        values = ", ".join(
            f"{name} {progress.values[name]:.3f}" for name in ("loss", "dice", "iou")
        )
        scores = ", ".join(f"{name} {score:.3f}" for name, score in progress.scores.items())
        print(f"step {progress.step}: {values}; {scores}", flush=True)


if __name__ == "__main__":
    main()
