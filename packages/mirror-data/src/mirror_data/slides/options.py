"""What decides the records of a slide, and how they are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from mirror_data.errors import BadInput
from mirror_data.slides.encoders import EncoderSpec
from mirror_data.slides.grid import GridParameters
from mirror_data.slides.quality import QualityParameters
from mirror_data.slides.resolution import LEAST_MPP, MOST_MPP, is_plausible
from mirror_data.slides.tissue import TissueParameters

Stain = Literal["none", "macenko", "reinhard"]


@dataclass(frozen=True)
class RegionOptions:
    """Where people drew what to tile (`mirror_data.slides.regions`)."""

    place: Path  # a folder with a GeoJSON file a slide, or the file of the only slide
    classes: tuple[str, ...] = ()  # none: all but those that QuPath ignores


@dataclass(frozen=True)
class TileOptions:
    """All of it. ``tiling`` names the tiling in the store: grids that differ may stand beside each other there."""

    grid: GridParameters = field(default_factory=GridParameters)
    tissue: TissueParameters = field(default_factory=TissueParameters)
    regions: RegionOptions | None = None
    quality: QualityParameters | None = None  # None: no tile is judged
    stain: Stain = "none"
    encoder: EncoderSpec = field(default_factory=EncoderSpec)
    mpp_override: float | None = None  # for slides that state no believable pixel size
    batch_size: int = 32
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise BadInput("BAD_OPTION", "a batch needs at least one tile", key="--batch-size", got=self.batch_size)
        if self.mpp_override is not None and not is_plausible(self.mpp_override, self.mpp_override):
            expected = f"micrometres per pixel between {LEAST_MPP} and {MOST_MPP:g}"
            raise BadInput(
                "BAD_OPTION", "not a pixel size", key="--mpp-override", expected=expected, got=self.mpp_override
            )
        if self.stain not in get_args(Stain):
            expected = ", ".join(get_args(Stain))
            raise BadInput("BAD_OPTION", "unknown normalisation", key="--stain", expected=expected, got=self.stain)

    @property
    def tiling(self) -> str:
        """``256px_0.5mpp``, ``256px_0.5mpp_overlap64_regions_qc``, ..."""
        return self.grid.name + ("_regions" if self.regions else "") + ("_qc" if self.quality else "")

    @property
    def features(self) -> str:
        """Name of the features in the store: the encoder, and the normalisation before it."""
        return self.encoder.name if self.stain == "none" else f"{self.encoder.name}+{self.stain}"

    def tiling_parameters(self) -> dict[str, Any]:
        """What decides the tiles beside the grid itself, as the tiling's record keeps it."""
        quality = {} if self.quality is None else {"quality": asdict(self.quality)}
        return ({} if self.grid.border == "inside" else {"border": self.grid.border}) | quality
