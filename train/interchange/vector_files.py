"""Files of vectors for other programs: rows of floating-point numbers, with the photo of each row and its box, if any.

Either two files, ``NAME.npy`` with an array [n, D] and ``NAME.csv`` with a line for each of its rows, or one,
``NAME.parquet``. Both name a photo by its path, by the digest of its file, or by both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from orl_explorer.train.errors import UserError
from orl_explorer.train.files import whole_file
from orl_explorer.train.tables import csv_lines
from orl_explorer.train.words import plural

NPY, PARQUET = ".npy", ".parquet"
FEATURE = "feature"  # column of the vectors in a Parquet file
BOX = ("x", "y", "w", "h")
TYPES = {"path": pa.string(), "digest": pa.int64(), **dict.fromkeys(BOX, pa.float64())}
AT_ONCE = 1 << 22  # numbers of a block


def is_vector_file(file: Path) -> bool:
    """Return whether the name of a file is that of a file of vectors."""
    return file.suffix in (NPY, PARQUET)


def beside(file: Path) -> Path:
    """Return the file that names the photo of each row of an array."""
    return file.with_suffix(".csv")


# Writing ------------------------------------------------------------------------------------------------


class VectorRows(NamedTuple):
    """Rows to write.

    paths, digests: of their photos; digests: int64 [n]. boxes: int16 [n, 4], or None. vectors: float32 [n, D].
    """

    paths: list[str]
    digests: np.ndarray
    boxes: np.ndarray | None
    vectors: np.ndarray

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that name the rows."""
        named = {} if self.boxes is None else dict(zip(BOX, self.boxes.T, strict=True))
        return {"path": self.paths, "digest": self.digests, **named}


def write_vectors(
    out: Path, shape: tuple[int, int], blocks: Iterable[VectorRows], about: Mapping[str, Any], *, boxed: bool
) -> None:
    """Write rows to a file that does not exist yet. If that fails, nothing is left. Raises UserError.

    shape: number of rows, and of numbers in each. about: facts for the metadata of a Parquet file. boxed: whether the
    rows are of RoIs.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == PARQUET:
        with whole_file(out) as file:
            _write_parquet(file, shape[1], blocks, about, boxed)
        return
    with whole_file(out) as file, whole_file(beside(out)) as ids, ExitStack() as opened:
        array, lines = (
            opened.enter_context(file.open("wb")),
            opened.enter_context(ids.open("w", encoding="utf-8", newline="")),
        )
        np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": shape})

        def rows() -> Iterator[list[Any]]:
            for block in blocks:
                array.write(np.ascontiguousarray(block.vectors, "<f4").tobytes())
                listed = [column if isinstance(column, list) else column.tolist() for column in block.columns.values()]
                yield from map(list, zip(*listed, strict=True))

        lines.writelines(csv_lines(("path", "digest", *(BOX if boxed else ())), rows()))


def _write_parquet(file: Path, width: int, blocks: Iterable[VectorRows], about: Mapping[str, Any], boxed: bool) -> None:
    kinds = {"path": pa.string(), "digest": pa.int64(), **(dict.fromkeys(BOX, pa.int16()) if boxed else {})}
    schema = pa.schema([*kinds.items(), (FEATURE, pa.list_(pa.float32(), width))]).with_metadata(
        {"orl": json.dumps(dict(about))}
    )
    with parquet.ParquetWriter(file, schema, use_dictionary=["path"]) as table:
        for block in blocks:
            columns = [pa.array(column, kinds[name]) for name, column in block.columns.items()]
            numbers = pa.array(np.ascontiguousarray(block.vectors, np.float32).ravel())
            columns.append(pa.FixedSizeListArray.from_arrays(numbers, width))
            table.write_batch(pa.record_batch(columns, schema=schema))


# Reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VectorFile:
    """A file of vectors, of which only the names of the rows are in memory.

    paths, digests: of the photos of its n rows; one of them may be None. boxes: float64 [n, 4], NaN in rows without a
    box. width: numbers in each row.
    """

    file: Path
    paths: list[str] | None
    digests: list[int | None] | None
    boxes: np.ndarray
    width: int

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def read(cls, file: Path) -> VectorFile:
        """Read the names of the rows. Raises UserError that says what is wrong with the file."""
        if not is_vector_file(file):
            raise UserError(f"{file} is neither {NPY} nor {PARQUET}, nor a file of `orl embed --part`.")
        try:
            file.stat()  # pyarrow's own sentence has the path once more
            if file.suffix == NPY:
                shape, named = _mapped(file).shape, beside(file)
                if not named.is_file():
                    raise UserError(f"There is no {named} beside {file}. It names the photo of each row.")
                how = csv.ConvertOptions(column_types=TYPES, null_values=[""], strings_can_be_null=False)
                lines = csv.ParseOptions(newlines_in_values=True)
                table = csv.read_csv(named, parse_options=lines, convert_options=how)
                if len(table) != shape[0]:
                    raise UserError(
                        f"{file} has {plural(shape[0], 'row')}, but {named} names {len(table):,}. Write one line for "
                        "each row."
                    )
                width = shape[1]
            else:
                named, whole = file, parquet.ParquetFile(file)
                width = _width(file, whole)
                table = whole.read([name for name in whole.schema_arrow.names if name in TYPES])
            return cls(file, *_named(table, named), width)
        except OSError as error:
            raise UserError(f"Cannot read {file}: {error.strerror or error}.") from error
        except (ValueError, EOFError, pa.ArrowException) as error:  # pyarrow's errors of content are ValueErrors
            raise UserError(f"Cannot read {file}: {_first_line(error)}.") from error

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the vectors in order, float [m, D]. Raises UserError."""
        size = max(1, AT_ONCE // self.width)
        if self.file.suffix == NPY:
            array = _mapped(self.file)
            for start in range(0, len(array), size):
                yield np.asarray(array[start : start + size])
            return
        try:
            for batch in parquet.ParquetFile(self.file).iter_batches(min(size, 1 << 16), columns=[FEATURE]):
                yield _flat(self.file, batch.column(0), self.width)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"Cannot read {self.file}: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _mapped(file: Path) -> np.ndarray:
    """Return the array of a file, memory-mapped. Raises ValueError or OSError if it is none, and UserError."""
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        held = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "several arrays"
        raise UserError(f"{file} holds {held}. Write one array of floating-point numbers [rows, D].")
    return array


def _width(file: Path, whole: parquet.ParquetFile) -> int:
    """Return the length of the vectors in a Parquet file."""
    schema = whole.schema_arrow
    if FEATURE not in schema.names:
        raise UserError(f"{file} has no column '{FEATURE}'. Its columns: {', '.join(schema.names)}.")
    kind = schema.field(FEATURE).type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_floating(kind.value_type):
        raise UserError(f"The column '{FEATURE}' of {file} holds {kind}. Write lists of floating-point numbers.")
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    first = next(whole.iter_batches(1, columns=[FEATURE]), None)
    length = None if first is None or not len(first) else pc.list_value_length(first.column(0))[0].as_py()
    return int(length or 1)


def _flat(file: Path, column: Any, width: int) -> np.ndarray:
    """Return a column of lists as an array [m, D]. Raises UserError if a list has another length."""
    lengths = pc.list_value_length(column)
    if column.null_count or (len(column) and pc.min_max(lengths).as_py() != {"min": width, "max": width}):
        odd = next(length for length in lengths.to_pylist() if length != width)
        said = "an empty cell" if odd is None else f"a vector of {plural(odd, 'number')}"
        raise UserError(f"The column '{FEATURE}' of {file} holds {said} beside vectors of {width}.")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)


def _named(table: pa.Table, file: Path) -> tuple[list[str] | None, list[int | None] | None, np.ndarray]:
    """Return paths, digests and boxes of the rows. Raises UserError if columns are missing."""
    there = set(table.column_names)
    if not there & {"path", "digest"}:
        raise UserError(
            f"{file} has neither a column 'path' nor a column 'digest', which name the photo of each row. Its columns: "
            f"{', '.join(table.column_names) or 'none'}."
        )
    lacking = [name for name in BOX if name not in there]
    if 0 < len(lacking) < len(BOX):
        raise UserError(f"{file} lacks the column '{lacking[0]}' of its boxes. Give x, y, w and h, or none of them.")
    values = {name: table.column(name).cast(kind) for name, kind in TYPES.items() if name in there}
    boxes = np.full((len(table), len(BOX)), np.nan)
    if not lacking:
        boxes = np.stack([values[name].to_numpy().astype(np.float64) for name in BOX], axis=1)
    paths, digests = (values[name].to_pylist() if name in values else None for name in ("path", "digest"))
    return paths, digests, boxes
