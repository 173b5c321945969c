"""Sparse attention in models of transformers: `with enable(model, method="tca"): model.generate(…)`."""

from __future__ import annotations

from fdvs.kernels.plugs.transformers.enable import enable as enable
from fdvs.kernels.plugs.transformers.plug import Plug as Plug
from fdvs.kernels.plugs.transformers.report import LayerReport as LayerReport
