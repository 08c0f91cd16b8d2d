"""The commands `samkit engine backup|restore`: backups of SQLite stores."""

from __future__ import annotations

from pathlib import Path

import click

from samkit.cli.stores import make_parent, open_store, store_option, store_place
from samkit.errors import StoreError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
def backup(*, file: Path, where: str) -> None:
    """Copy an SQLite store to one file, also while it is in use. Images are not included."""
    from samkit.dataengine import backup_store

    with open_store(where) as store:
        backup_store(store, file)
    click.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
def restore(*, file: Path, where: str) -> None:
    """Create the store from a backup, which is checked first. An existing store is not replaced."""
    from samkit.dataengine import restore_store

    place = store_place(where)
    if "://" in place:
        raise StoreError("a backup is restored to a file; for PostgreSQL use pg_restore")
    make_parent(place)
    restore_store(file, place)
    click.echo(place)
