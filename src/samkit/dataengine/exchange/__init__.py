"""Exchange with other programs: imports and exports of masks, and the history of edits."""

from samkit.dataengine.exchange.clips import (
    ClipExport,
    ClipFormat,
    ClipImport,
    export_clips,
    import_clips,
)
from samkit.dataengine.exchange.exporting import ExportReport, export_project
from samkit.dataengine.exchange.history import export_history
from samkit.dataengine.exchange.importing import ImportReport, import_masks

__all__ = [
    "ClipExport",
    "ClipFormat",
    "ClipImport",
    "ExportReport",
    "ImportReport",
    "export_clips",
    "export_history",
    "export_project",
    "import_clips",
    "import_masks",
]
