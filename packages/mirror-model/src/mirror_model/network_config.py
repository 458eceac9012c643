"""The settings of MIRROR's network and of its loss. See design of each switch at the class that uses it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MOST = 2**63 - 1  # what a machine counts with
Width = Annotated[int, Field(ge=8, le=2**16, description="D, width of the network")]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A frozen group of options."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _countable(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) > MOST:
            raise ValueError("no number is this large here")
        return value


class SlideConfig(Section):
    """The slide encoder, alone or as a part of MIRROR."""

    dim: int = Field(768, ge=8, le=2**16, description="D, width shared by both modalities")
    # Slides
    slide_depth: int = Field(2, ge=0, description="attention blocks of the slide encoder; PPEG stands after the first")
    slide_heads: int = Field(8, ge=1)
    attention: Literal["exact", "nystrom"] = "exact"
    landmarks: int | None = Field(None, ge=1, description="of nystrom attention; D/2 unless given")
    pinv_iterations: int = Field(6, ge=1)
    value_kernel: int = Field(33, ge=0, description="width of the convolution of the values; 0 leaves it out")
    position: Literal["ppeg", "none"] = "ppeg"
    pool: Literal["cls", "attention"] = "cls"
    mean_skip: bool = Field(False, description="add a linear map of the bag's mean tile to the slide embedding")
    dropout: float = Field(0.1, ge=0, lt=1, description="of each attention's output")
    tile_dropout: float = Field(0.0, ge=0, lt=1, description="of the tile features")

    @model_validator(mode="after")
    def _slide_fits(self) -> SlideConfig:
        if self.dim % self.slide_heads:
            raise ValueError(f"dim {self.dim} is not a multiple of slide_heads {self.slide_heads}")
        if self.slide_depth == 0 and self.pool == "cls":
            raise ValueError("slide_depth = 0 leaves the CLS token blind: set model.pool = attention as well")
        if self.value_kernel and self.value_kernel % 2 == 0:
            raise ValueError("value_kernel must be odd, or 0 for none")
        return self


class ModelConfig(SlideConfig):
    """MIRROR's network."""

    # RNA
    rna_tokens: Literal["chunk", "gene_group"] = "chunk"
    rna_depth: int = Field(2, ge=0)
    rna_heads: int = Field(12, ge=1, description="chunks of the vector (chunk), attention heads (gene_group)")
    rna_mlp_ratio: float = Field(2.0, gt=0)
    rna_groups: int = Field(64, ge=1, description="M, gene groups")
    rna_skip: bool = Field(False, description="add a linear map of the genes to the RNA embedding")
    rna_skip_start: Literal["random", "components"] = Field(
        "random", description="what that map is before training; components: the mix of principal components"
    )
    gene_dropout: float = Field(0.0, ge=0, lt=1, description="of the genes' values at the input")
    rna_dropout: float = Field(0.0, ge=0, lt=1, description="inside the RNA encoder")
    # Heads
    normalize: Literal["before", "after", "none"] = Field(
        "before", description="where the aligned vector gets length 1"
    )
    logit_scale: float = Field(1 / 0.07, gt=0, description="of the contrastive loss, at the start")
    max_logit_scale: float = Field(100.0, gt=0)
    retention_target: Literal["latent", "input"] = "latent"
    detach_target: bool = Field(False, description="no gradient through the latent target")
    retention_depth: int = Field(1, ge=1)
    mask_ratio: float = Field(0.75, ge=0, lt=1)
    style_hidden: int = Field(512, ge=1)
    style_out: int = Field(256, ge=1)
    style_dim: int = Field(128, ge=1, description="Z")
    prototypes: int = Field(3000, ge=2, le=2**24, description="K")

    @model_validator(mode="after")
    def _rna_fits(self) -> ModelConfig:
        if self.dim % self.rna_heads:
            raise ValueError(f"dim {self.dim} is not a multiple of rna_heads {self.rna_heads}")
        return self


class LossConfig(Section):
    """Weights of the loss's terms. A term of weight 0 is neither computed nor built (Table III's switches)."""

    weights: Literal["reference", "paper"] = Field("reference", description="paper: all 1, as in equation (19)")
    align: float | None = Field(None, ge=0)
    slide_retention: float | None = Field(None, ge=0)
    rna_retention: float | None = Field(None, ge=0)
    style: float | None = Field(None, ge=0)
    cluster: float | None = Field(None, ge=0)

    def weight(self, term: str) -> float:
        """The weight of ``align``, ``slide_retention``, ``rna_retention``, ``style`` or ``cluster``."""
        reference = {"align": 0.5, "slide_retention": 0.15, "rna_retention": 0.15, "style": 0.1, "cluster": 0.1}
        own = getattr(self, term)
        if own is not None:
            return own
        return reference[term] if self.weights == "reference" else 1.0
