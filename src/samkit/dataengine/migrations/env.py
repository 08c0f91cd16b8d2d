"""Alembic environment, run in the connection and transaction of `database.upgrade`."""

from alembic import context

from samkit.dataengine.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # also on SQLite, since samkit begins its transactions itself
)
with context.begin_transaction():
    context.run_migrations()
