"""What an endpoint answers: rows of scans in, one answer a scan out, and errors of one line."""

from __future__ import annotations

import logging
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from ganatomy import registry
from ganatomy.artifacts import read_config
from ganatomy.scans import Scan, ScanError, read_scan
from ganatomy.server import guard_mlflow

# Of one scan: a request's bound is the server's, and Spark sends thousands of rows at once.
MAX_SCAN_BYTES = 256 << 20
MAX_PIXELS = 64 << 20
# Rows that are decoded together; an answer does not depend on its company.
CHUNK = 32
REFUSED = "REFUSED"

_log = logging.getLogger(__name__)


class Refused(MlflowException):
    """Why there is no answer, in one line that repeats nothing of the input.

    MLflow's scoring server puts the whole input before the message of any MlflowException, and
    sends the traceback of any other: hence a message that nobody can overwrite.
    """

    def __init__(self, line: str, error_code: int = INVALID_PARAMETER_VALUE):
        self._line = line
        super().__init__(line, error_code=error_code, error_class=REFUSED)

    @property
    def message(self) -> str:
        return self._line

    @message.setter
    def message(self, value: str) -> None:
        pass


class Answers:
    """A trained model behind an endpoint, whatever its task.

    Args:
        folder: of the model.

    Raises:
        ganatomy.artifacts.ArtifactError: there is no such model.
    """

    def __init__(self, folder: str | Path):
        preset = read_config(Path(folder))["preset"]
        self.rank: int = preset["rank"]
        self.voi: bool = preset["preprocessing"].get("voi", False)
        self.face = registry.face(preset["task"]).load(folder)
        # TensorFlow takes all cores for one pass; two at a time only take twice the memory.
        self._one_at_a_time = threading.Lock()

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row of answers a row of input.

        Args:
            model_input: table with `scan` (a file's bytes) or `pixels` (nested numbers) a row; of
                a task with several scans a row, a column of bytes for each of the face's `inputs`.
            params: `map` true asks for the map too.

        Raises:
            Refused: whatever is wrong.
        """
        try:
            return self._predict(model_input, bool((params or {}).get("map", False)))
        except Refused:
            raise
        except ScanError as error:
            raise Refused(str(error)) from None
        except Exception as error:
            # The text of a foreign exception may quote the scan; its type does not.
            _log.error("%s while answering", type(error).__name__)
            raise Refused("the model failed on this input", INTERNAL_ERROR) from None

    def _predict(self, table: Any, map: bool) -> pd.DataFrame:
        inputs = getattr(self.face, "inputs", None)
        if inputs is not None:
            return self._predict_several(table, inputs)
        if not isinstance(table, pd.DataFrame) or len(table) == 0:
            raise Refused("no rows; expected the column scan (a file's bytes) or pixels (numbers)")
        given = {name: list(table[name]) for name in ("scan", "pixels") if name in table.columns}
        if not given:
            raise Refused("neither scan nor pixels; one of these columns is expected")
        empty = [None] * len(table)
        rows = list(zip(given.get("scan", empty), given.get("pixels", empty), strict=True))
        answers: list[dict[str, Any]] = []
        for begin in range(0, len(rows), CHUNK):
            chunk = enumerate(rows[begin : begin + CHUNK], begin)
            scans = [self._scan(f"row {number}", *row) for number, row in chunk]
            with self._one_at_a_time:
                answers += self.face.answer(scans, map=map)
        return pd.DataFrame(answers, columns=[*self.face.answers, *(["map"] if map else [])])

    def _predict_several(self, table: Any, inputs: tuple[str, ...]) -> pd.DataFrame:
        if not isinstance(table, pd.DataFrame) or len(table) == 0:
            raise Refused(f"no rows; expected the columns {', '.join(inputs)} (files' bytes)")
        missing = [name for name in inputs if name not in table.columns]
        if missing:
            raise Refused(f"no column {missing[0]}; expected {', '.join(inputs)} (files' bytes)")
        answers: list[dict[str, Any]] = []
        for number, row in enumerate(zip(*(table[name] for name in inputs), strict=True)):
            named = zip(inputs, row, strict=True)
            scans = [self._file(f"row {number} {name}", name, content) for name, content in named]
            with self._one_at_a_time:
                answers += self.face.answer([scans])
        return pd.DataFrame(answers, columns=list(self.face.answers))

    def _scan(self, name: str, content: Any, pixels: Any) -> Scan:
        if _missing(content) == _missing(pixels):
            what = "neither scan nor pixels" if _missing(content) else "both scan and pixels"
            raise Refused(f"{name}: has {what}; expected one of them")
        if not _missing(pixels):
            return Scan(self._pixels(name, pixels), path=name)
        return self._file(name, "scan", content)

    def _file(self, name: str, column: str, content: Any) -> Scan:
        if not isinstance(content, (bytes, bytearray, memoryview)):
            raise Refused(f"{name}: {column} is not bytes; expected a file's content")
        if len(content) > MAX_SCAN_BYTES:
            raise Refused(f"{name}: is too large; expected at most {MAX_SCAN_BYTES >> 20} MiB")
        return read_scan(bytes(content), name=name, window=self.voi, max_pixels=MAX_PIXELS)

    def _pixels(self, name: str, nested: Any) -> np.ndarray:
        """Nested numbers as [*grid, channels], refused by their shape before they are numbers."""
        shape = _first_shape(nested)
        if len(shape) not in (self.rank, self.rank + 1):
            raise Refused(
                f"{name}: pixels are nested {len(shape)} deep; expected {self.rank}, "
                f"or {self.rank + 1} with channels last"
            )
        if 0 in shape or math.prod(shape) > MAX_PIXELS:
            raise Refused(f"{name}: has no pixels or more than {MAX_PIXELS}")
        try:
            # Spark nests arrays of arrays, which numpy keeps as objects.
            pixels = np.array(_lists(nested))
        except ValueError:
            raise Refused(f"{name}: pixels have rows of different lengths") from None
        if pixels.dtype.kind not in "fiu":
            raise Refused(f"{name}: pixels are not all numbers")
        with np.errstate(over="ignore"):
            pixels = pixels.astype(np.float32)
        if not np.isfinite(pixels).all():
            raise Refused(f"{name}: has pixels that are not finite; expected numbers")
        if pixels.min() == pixels.max():
            raise Refused(f"{name}: is constant: every pixel is the same; expected an image")
        return pixels if pixels.ndim > self.rank else pixels[..., None]


class ServedModel(PythonModel):
    """The MLflow model of a model folder; the folder's `model.py` names it."""

    def load_context(self, context: Any) -> None:
        folder = context.artifacts["model"]
        if os.environ.get("GANATOMY_ARCHIVE"):  # in a Spark worker of `ganatomy.archive`
            from ganatomy.archived import answers_of

            self._answers = answers_of(folder)
        else:
            guard_mlflow()
            self._answers = Answers(folder)

    # Of all annotations, MLflow takes a table's without drawing a signature from it.
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return self._answers.predict(model_input, params)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _first_shape(nested: Any) -> tuple[int, ...]:
    """Lengths along the first elements, as far as five deep."""
    shape: list[int] = []
    while isinstance(nested, (list, tuple, np.ndarray)) and len(shape) < 5:
        if isinstance(nested, np.ndarray) and nested.ndim == 0:
            break
        shape.append(len(nested))
        if not len(nested):
            break
        nested = nested[0]
    return tuple(shape)


def _lists(nested: Any) -> Any:
    """Object arrays as lists, level by level; anything else as it is."""
    if isinstance(nested, np.ndarray) and nested.dtype != object:
        return nested
    if isinstance(nested, (list, tuple, np.ndarray)) and len(nested):
        if isinstance(nested[0], (list, tuple, np.ndarray)):
            return [_lists(part) for part in nested]
        return list(nested)
    return nested
