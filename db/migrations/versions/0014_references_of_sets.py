"""PostgreSQL checks the references of a set's rows at its publication"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return  # SQLite checks them within the insertion, which takes no longer
    for table in ("neighbor", "candidate", "pair"):
        for key in sa.inspect(op.get_bind()).get_foreign_keys(table):
            op.drop_constraint(str(key["name"]), table, type_="foreignkey")
