"""Benchmarks: workloads that backends run in turns, reported with their machine."""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.benchmark.machine import describe_machine, matmul_gflops, peak_memory_gb
    from samkit.benchmark.report import markdown_report, write_plot
    from samkit.benchmark.turns import measure
    from samkit.benchmark.works import WORKS, Workshop, possible_works

__all__ = [
    "WORKS",
    "Workshop",
    "describe_machine",
    "markdown_report",
    "matmul_gflops",
    "measure",
    "peak_memory_gb",
    "possible_works",
    "write_plot",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "WORKS": "works",
        "Workshop": "works",
        "describe_machine": "machine",
        "markdown_report": "report",
        "matmul_gflops": "machine",
        "measure": "turns",
        "peak_memory_gb": "machine",
        "possible_works": "works",
        "write_plot": "report",
    },
)
