"""Numbers in the paths of this server's routes."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException

LARGEST = 2**31 - 1  # no database holds a larger id


class _Number(Convertor[int]):
    """A number up to LARGEST. A larger one is a 404: Python refuses to convert thousands of digits."""

    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        if len(value) > len(str(LARGEST)) or int(value) > LARGEST:
            raise HTTPException(404, f"There is nothing with a number above {LARGEST}.")
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())


def numeral(name: str) -> str:
    """Return the part of a route's path that is a number, a parameter of this name."""
    return f"{{{name}:number}}"
