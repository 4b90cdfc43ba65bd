"""How an encoder of another library is read"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("encoder", sa.Column("reading", sa.JSON(), nullable=True))
