"""Run by Alembic, with the connection and its transaction that `database.upgrade` gives."""

from alembic import context

from samkit.dataengine.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite's too, since samkit begins its transactions itself
)
with context.begin_transaction():
    context.run_migrations()
