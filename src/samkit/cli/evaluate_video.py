"""The protocol `vos` of `samkit evaluate`: models side by side on videos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.backends import BackendChoice
from samkit.cli.progress import progress
from samkit.cli.wording import counted, folder_name

if TYPE_CHECKING:
    from samkit.evaluation import FirstPrompt


def evaluate_videos(
    data: Path,
    labels: dict[str, str],
    *,
    first: FirstPrompt,
    sequences: int | None,
    policies: Sequence[str],
    backend: BackendChoice,
    output: Path,
    as_json: bool,
) -> int:
    """Measure models on videos; write and print the report."""
    from samkit.evaluation import evaluate_vos, find_vos_sequences, vos_json, vos_markdown
    from samkit.files import write_bytes
    from samkit.video import VideoPredictor

    chosen = find_vos_sequences(data)[:sequences]
    loads = {
        label if policy is None else f"{label} {policy}": (model, policy)
        for label, model in labels.items()
        for policy in policies or (None,)
    }
    if not as_json:
        names = ", ".join(loads)
        click.echo(
            f"samkit: {counted(len(chosen), 'sequence')} by vos for {names},"
            f" first frame by {first}",
            err=True,
        )
    results = {}
    total = sum(len(one.images) for one in chosen) * len(loads)
    lengths = {one.name: len(one.images) for one in chosen}
    with progress("frame", total, bar=not as_json) as meter:
        for label, (model, policy) in loads.items():
            predictor = VideoPredictor.load(model, policy=policy, **backend.options())
            meter.start(label)

            def count_found(name: str, is_new: bool) -> None:  # noqa: FBT001
                for _ in range(0 if is_new else lengths[name]):
                    meter.advance(worked=False)

            results[label] = evaluate_vos(
                predictor,
                chosen,
                first=first,
                path=output / "records" / folder_name(label) / f"vos-{first}.jsonl",
                on_frame=lambda _name, _done: meter.advance(),
                on_sequence=count_found,
            )
    write_bytes(output / "report.json", json.dumps(vos_json(results, first), indent=1).encode())
    write_bytes(output / "report.md", vos_markdown(results, first).encode())
    if as_json:
        click.echo(json.dumps(vos_json(results, first), indent=1))
    else:
        click.echo(vos_markdown(results, first))
        click.echo(f"results in {output}: report.md, report.json")
    return 0
