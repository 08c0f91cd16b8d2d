"""Formatting of counts, times and names in messages and folders."""

import re

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def counted(number: int, noun: str) -> str:
    """Format a number with its noun, such as "1 user" or "2,000 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rough_time(seconds: float) -> str:
    """Format a time in one or two units, such as "40 s", "25 min" or "2 h 10 min"."""
    if seconds < MINUTE_S:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / MINUTE_S)
    if minutes < HOUR_S // MINUTE_S:
        return f"{minutes} min"
    if seconds < DAY_S:
        hours, minutes = divmod(minutes, HOUR_S // MINUTE_S)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / HOUR_S), DAY_S // HOUR_S)
    return f"{days} d {hours} h" if hours else f"{days} d"


def folder_name(label: str) -> str:
    """A model's label as the name of a folder."""
    return re.sub(r"[^\w.-]+", "_", label)
