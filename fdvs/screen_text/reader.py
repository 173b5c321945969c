"""Reading what is written in a picture: RapidOCR with the models of its own package, one thread, nothing fetched."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.errors import BackendUnavailableError
from fdvs.screen_text.boxes import Box
from fdvs.screen_text.readings import DETECTOR, RECOGNISER, ReadLine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DETECTOR, _RECOGNISER = f"{DETECTOR}.onnx", f"{RECOGNISER}.onnx"
# Long side of the picture in which lines are looked for. The default enlarges small pictures instead, at twice the cost
# and with the same lines.
READ_SIDE = 960
# Long side of the picture that is only asked whether there is any text.
GLANCE_SIDE = 480
# More pixels than this on the long side bring no line that the detector finds, only memory.
MOST_SIDE = 1920


class TextReader:
    """Loading costs over a second and some 150 MiB, so it is made when the first picture is looked at."""

    def __init__(self) -> None:
        """
        Raises:
            BackendUnavailableError: RapidOCR is not installed, or came without its models.
        """
        self._engine = _engine()

    def glance(self, pixels: NDArray[np.uint8]) -> tuple[Box, ...]:
        """Where the detector sees text; nothing is read.

        Args:
            pixels: [H, W, 3] RGB; `GLANCE_SIDE` on the long side is what it is meant for.
        """
        found = self._engine(_bgr(pixels), use_det=True, use_cls=False, use_rec=False)
        if found.boxes is None:
            return ()
        height, width = pixels.shape[:2]
        return tuple(_box(corners, width, height) for corners in found.boxes)

    def read(self, pixels: NDArray[np.uint8]) -> tuple[ReadLine, ...]:
        """The lines of a picture, [H, W, 3] RGB, from top to bottom. A line without a letter or digit is left out."""
        found = self._engine(_bgr(pixels), use_det=True, use_cls=False, use_rec=True)
        if found.boxes is None or found.txts is None:
            return ()
        height, width = pixels.shape[:2]
        lines = []
        for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
            plain = unicodedata.normalize("NFC", " ".join(str(text).split()))
            if any(character.isalnum() for character in plain):
                lines.append(ReadLine(plain, round(float(score), 3), _box(corners, width, height)))
        return tuple(lines)


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The order of colours that RapidOCR takes."""
    return pixels[..., ::-1].copy()


def _box(corners: Any, width: int, height: int) -> Box:
    """Left, top, right, bottom of four corners, in thousandths of the picture."""
    xs = [min(1000, max(0, round(1000 * float(x) / width))) for x, _ in corners]
    ys = [min(1000, max(0, round(1000 * float(y) / height))) for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _engine() -> Any:
    try:
        import cv2
        import rapidocr
    except ImportError as error:
        raise BackendUnavailableError(
            f"reading on-screen text needs rapidocr ({error}): pip install rapidocr, or use --screen-text off"
        ) from error
    models = Path(rapidocr.__file__).parent / "models"
    # Named files: with a name left open, a missing model would be downloaded.
    missing = [name for name in (_DETECTOR, _RECOGNISER) if not (models / name).is_file()]
    if missing:
        raise BackendUnavailableError(
            f"rapidocr {getattr(rapidocr, '__version__', '')} came without {', '.join(missing)}: "
            "pip install 'rapidocr>=3.10,<4', or use --screen-text off"
        )
    cv2.setNumThreads(1)
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.model_path": str(models / _DETECTOR),
            "Det.limit_type": "max",
            "Det.limit_side_len": READ_SIDE,
            "Rec.model_path": str(models / _RECOGNISER),
        }
    )
