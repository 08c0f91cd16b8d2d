"""Reads the logs that a training writes."""

import csv


def read_log(path):
    """Rows of `log.csv` or `scores.csv` as numbers by column."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
