"""What starts the processes of a run, and on how many machines"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("run", sa.Column("launcher", sa.String(), nullable=False, server_default="local"))
    op.add_column("run", sa.Column("handle", sa.String(), nullable=True))
    op.add_column("run", sa.Column("nodes", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("run", sa.Column("processes", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("run", sa.Column("kill_asked", sa.Boolean(), nullable=False, server_default=sa.false()))
