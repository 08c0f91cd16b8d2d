"""The commands `samkit engine`: stores, projects, users, models that learn, imports, exports."""

import click

from samkit.cli.engine.assign import assign
from samkit.cli.engine.audit import audit
from samkit.cli.engine.backups import backup, restore
from samkit.cli.engine.classes import classes
from samkit.cli.engine.exchange import export_masks, import_masks
from samkit.cli.engine.following import follow
from samkit.cli.engine.learning import choose, embed, learn, prefill, versions
from samkit.cli.engine.members import members
from samkit.cli.engine.prelabel import prelabel
from samkit.cli.engine.projects import delete, init, move, rename
from samkit.cli.engine.simulating import simulate
from samkit.cli.engine.status import status
from samkit.cli.engine.tokens import tokens
from samkit.cli.engine.users import users


@click.group()
def engine() -> None:
    """Manage the data engine's store: projects, users, imports and exports."""


for command in (
    init,
    status,
    import_masks,
    prelabel,
    learn,
    prefill,
    choose,
    embed,
    versions,
    follow,
    simulate,
    audit,
    export_masks,
    users,
    tokens,
    members,
    assign,
    classes,
    move,
    rename,
    delete,
    backup,
    restore,
):
    engine.add_command(command)
engine.add_command(prelabel, "auto")  # the paper's name of the stage
