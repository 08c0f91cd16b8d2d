"""Names of the formats in which objects of a video are written."""

TRACK_FORMATS = ("overlay", "png", "coco", "mot", "jsonl")
DEFAULT_TRACK_FORMATS = ("overlay", "png", "jsonl")
