"""Settings of the methods that MIRROR is compared with; the published ones are the defaults.

Where a paper is silent, or says nothing of slides and expression together, the note at the setting says what was taken
instead.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from mirror_data.errors import BadInput, some
from pydantic import Field

from mirror_model.config import (
    BatchSize,
    Choice,
    DataConfig,
    Epochs,
    MirrorConfig,
    OptimiserConfig,
    Patience,
    Precision,
    RuntimeConfig,
    TrainConfig,
)
from mirror_model.network_config import Dropout, Section, SlideConfig, Width

_ALL_TILES = 16384  # a slide: the whole of most, as these methods read them


class LinearModel(Section):
    """The mean tile beside the genes, one linear layer."""

    dropout: Dropout = Field(0.0, description="of the inputs")


class LinearConfig(TrainConfig):
    """A linear classifier. It has no paper: settings chosen on validation parts of TCGA-BRCA."""

    method: ClassVar[str] = "linear"

    epochs: Epochs = 50
    batch_size: BatchSize = 64
    precision: Precision = "fp32"
    choose: Choice = "best"
    patience: Patience = 10
    model: LinearModel = LinearModel()
    optimiser: OptimiserConfig = OptimiserConfig(name="adamw", lr=3e-4, weight_decay=0.1)
    data: DataConfig = DataConfig(bag="mean", standardise_tiles=True)


class AbmilModel(Section):
    """Attention-based deep multiple instance learning (Ilse et al. 2018, arXiv 1802.04712), with gated attention."""

    dim: Width = 512
    attention_dim: int = Field(128, ge=1, description="width of the gated attention")
    dropout: Dropout = Field(0.0, description="of the embedded tiles")


class AbmilConfig(TrainConfig):
    """ABMIL, slides only: the paper's settings for histopathology; it stops by validation error and loss."""

    method: ClassVar[str] = "abmil"

    epochs: Epochs = 100
    batch_size: BatchSize = 1
    precision: Precision = "fp32"
    choose: Choice = "best"
    patience: Patience = 20
    model: AbmilModel = AbmilModel()
    optimiser: OptimiserConfig = OptimiserConfig(lr=1e-4, weight_decay=5e-4)
    data: DataConfig = DataConfig(tiles=_ALL_TILES)


class TransmilModel(SlideConfig):
    """TransMIL (Shao et al. 2021, arXiv 2106.00908): MIRROR's slide encoder is a modified one."""

    dim: Width = 512
    attention: Literal["exact", "nystrom"] = "nystrom"


class TransmilConfig(TrainConfig):
    """TransMIL, slides only: Lookahead around RAdam, one slide at a time, ten epochs of patience."""

    method: ClassVar[str] = "transmil"

    epochs: Epochs = 200
    batch_size: BatchSize = 1
    precision: Precision = "fp32"
    choose: Choice = "best"
    patience: Patience = 10
    model: TransmilModel = TransmilModel()
    optimiser: OptimiserConfig = OptimiserConfig(name="radam", lr=2e-4, weight_decay=1e-5, lookahead=5)
    data: DataConfig = DataConfig(tiles=_ALL_TILES)

    @property
    def one_by_one(self) -> bool:
        return self.model.attention == "nystrom"


class PorpoiseModel(Section):
    """PORPOISE (Chen et al. 2022, doi 10.1016/j.ccell.2022.07.004)."""

    slide_dim: Width = 512
    attention_dim: int = Field(256, ge=1, description="width of the gated attention")
    rna_dim: int = Field(256, ge=1, description="width of the self-normalising network")
    dim: Width = 256
    fused_dim: int = Field(32, ge=1, description="width of each gated vector before the outer product")
    dropout: Dropout = 0.25
    l1: float = Field(1e-4, ge=0, description="factor of the sum of absolute weights of the RNA branch")


class PorpoiseConfig(TrainConfig):
    """PORPOISE: the last of 20 epochs; gradients of 32 patients, 4 in memory at a time (published: one)."""

    method: ClassVar[str] = "porpoise"

    epochs: Epochs = 20
    batch_size: BatchSize = 32
    precision: Precision = "fp32"
    choose: Choice = "last"
    model: PorpoiseModel = PorpoiseModel()
    optimiser: OptimiserConfig = OptimiserConfig(lr=2e-4, weight_decay=1e-5)
    data: DataConfig = DataConfig(tiles=_ALL_TILES)
    runtime: RuntimeConfig = RuntimeConfig(micro_batch=4)


class TangleModel(Section):
    """TANGLE (Jaume et al. 2024, arXiv 2405.11618)."""

    dim: Width = 768
    attention_dim: int = Field(384, ge=1, description="width of the gated attention")
    dropout: Dropout = 0.1
    temperature: float = Field(0.1, gt=0, description="of the contrastive loss, fixed")


class TangleConfig(TrainConfig):
    """TANGLE: warm-up over the first twentieth, then cosine; 2,048 tiles a slide, repeated where there are fewer."""

    method: ClassVar[str] = "tangle"

    epochs: Epochs = 100
    batch_size: BatchSize = 64
    model: TangleModel = TangleModel()
    optimiser: OptimiserConfig = OptimiserConfig(
        name="adamw", lr=1e-4, weight_decay=0.01, schedule="cosine", warmup=0.05
    )
    data: DataConfig = DataConfig(bag="fixed")

    @property
    def width(self) -> int:
        return self.model.dim


_KINDS: tuple[type[TrainConfig], ...] = (
    MirrorConfig,
    LinearConfig,
    AbmilConfig,
    TransmilConfig,
    PorpoiseConfig,
    TangleConfig,
)
CONFIGS: dict[str, type[TrainConfig]] = {kind.method: kind for kind in _KINDS}


def config_of(method: str) -> type[TrainConfig]:
    """The class of a method's settings.

    Raises:
        BadInput: ``BAD_OPTION``, listing the methods.
    """
    if method not in CONFIGS:
        expected = f"one of {some(list(CONFIGS), 20)}"
        raise BadInput("BAD_OPTION", "no such method", key="--method", expected=expected, got=method)
    return CONFIGS[method]
