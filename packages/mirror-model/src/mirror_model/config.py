"""What a training run is made of: frozen, validated sections; an unknown key is an error.

Defaults are the published settings (paper, section IV-A) with exact attention; recipes choose better ones for their
data. See design of each switch at the class that uses it.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from mirror_data.errors import BadInput, some
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator


class Section(BaseModel):
    """A frozen group of options."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Section):
    """The network."""

    dim: int = Field(768, ge=8, description="D, width shared by both modalities")
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
    # RNA
    rna_tokens: Literal["chunk", "gene_group"] = "chunk"
    rna_depth: int = Field(2, ge=0)
    rna_heads: int = Field(12, ge=1, description="chunks of the vector (chunk), attention heads (gene_group)")
    rna_mlp_ratio: float = Field(2.0, gt=0)
    rna_groups: int = Field(64, ge=1, description="M, gene groups")
    rna_skip: bool = Field(False, description="add a linear map of the genes to the RNA embedding")
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
    prototypes: int = Field(3000, ge=2, description="K")

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        for name, heads in (("slide_heads", self.slide_heads), ("rna_heads", self.rna_heads)):
            if self.dim % heads:
                raise ValueError(f"dim {self.dim} is not a multiple of {name} {heads}")
        if self.slide_depth == 0 and self.pool == "cls":
            raise ValueError("slide_depth = 0 leaves the CLS token blind: set model.pool = attention as well")
        if self.value_kernel and self.value_kernel % 2 == 0:
            raise ValueError("value_kernel must be odd, or 0 for none")
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


class OptimiserConfig(Section):
    """The optimiser and its learning-rate schedule."""

    name: Literal["adam", "adamw"] = "adam"
    lr: float = Field(2e-5, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="of matrices; biases, norms and tokens are never decayed")
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps; one_cycle without it takes 0.3")
    clip: float = Field(0.0, ge=0, description="largest gradient norm; 0 for no limit")


class DataConfig(Section):
    """From patients to batches."""

    tiles: int = Field(2048, ge=1, description="N, most tiles of a slide in a training step")
    bag: Literal["padded", "fixed"] = Field("padded", description="fixed: exactly N tiles a patient, repeated if fewer")
    token_order: Literal["raster", "hilbert", "none"] = "raster"
    embed_tiles: int = Field(16384, ge=1, description="most tiles of a slide in an embedding")
    standardise_tiles: bool = Field(False, description="tile features to mean 0, sd 1, fitted on the training patients")
    rna_quantile: float = Field(0.005, ge=0, lt=0.5, description="genes are cut at these training quantiles; 0: no cut")
    rna_clip: float = Field(10.0, gt=0, description="largest size of a standardised value")
    gene_sets: str | None = Field(None, description="GMT file; a set becomes a token of rna_tokens = gene_group")
    eval_batch_size: int = Field(64, ge=1)


class RuntimeConfig(Section):
    """How the work is done on this machine. Only ``threads`` and ``device`` can change a result, in its last digits."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(1, ge=1, description="CPU threads of one fold; folds run side by side with --workers")
    cache_gb: float = Field(4.0, ge=0, description="tile features kept in memory by each fold; the rest is read again")
    validate_every: int = Field(1, ge=1, description="epochs between two looks at the validation part")


class TrainConfig(Section):
    """Everything that decides a training run, apart from the data it is given."""

    epochs: int = Field(100, ge=0, description="0 gives the untrained network")
    batch_size: int = Field(16, ge=1)
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    choose: Literal["last", "best"] = Field(
        "last", description="which epoch is kept: the last, or best validation loss"
    )
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    data: DataConfig = DataConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @field_validator("epochs", "batch_size", "seed", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError("must be a whole number")
        return value

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.model.attention == "nystrom" and self.data.bag != "fixed":
            raise ValueError("model.attention = nystrom knows no padding: set data.bag = fixed as well")
        if self.choose == "best" and self.epochs == 0:
            raise ValueError("choose = best needs at least one epoch")
        return self


def read_config(file: Path | None = None, settings: Sequence[str] = ()) -> TrainConfig:
    """Defaults, then a recipe, then ``key=value`` settings with dotted keys (``model.dim=192``).

    Args:
        file: a TOML file. If it has a table ``[train]``, only that table is read, so that one recipe file can hold the
            settings of every command; keys of the command line's own options (``method``, ``genes``, ...) do not
            belong there.
        settings: values are written as in TOML; text needs no quotes.

    Raises:
        BadInput: ``NOT_FOUND``, or ``BAD_OPTION`` naming the key.
    """
    values: dict[str, Any] = _read_toml(file) if file else {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key.strip():
            raise BadInput("BAD_OPTION", "a setting is written key=value", key="--set", got=setting)
        _put(values, key.strip(), _value(text.strip()))
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise _bad_option(error, file) from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput("NOT_FOUND", "there is no such recipe", file=file) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput("BAD_OPTION", "the recipe cannot be read", file=file, got=error) from None
    return values.get("train", values)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise BadInput("BAD_OPTION", "this option has no parts", key=key)
    values[leaf] = value


def _value(text: str) -> Any:
    """A TOML value; what is none is text."""
    if text.lower() in ("nan", "inf", "+inf", "-inf") or text == "":
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def option_names(section: type[BaseModel] = TrainConfig, above: str = "") -> list[str]:
    """Dotted names of all options."""
    names: list[str] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += option_names(kind, f"{above}{name}.")
        else:
            names.append(f"{above}{name}")
    return names


def describe_options(section: type[BaseModel] = TrainConfig, above: str = "") -> list[str]:
    """A line for every option: its dotted name, default, choices and meaning."""
    lines: list[str] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            lines += describe_options(kind, f"{above}{name}.")
            continue
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        notes = [" | ".join(choices)] if choices else []
        notes += [field.description] if field.description else []
        default = "" if field.default is None else f" = {field.default}"
        lines.append(f"{above}{name}{default}" + (f"    # {'; '.join(notes)}" if notes else ""))
    return lines


def _bad_option(error: ValidationError, file: Path | None) -> BadInput:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or None
    if first["type"] == "extra_forbidden" and key:
        names = option_names()
        leaf = key.rpartition(".")[2]
        near = [n for n in names if n.rpartition(".")[2] == leaf]
        near += [n for n in difflib.get_close_matches(key, names, 3, 0.6) if n not in near]
        hint = f"did you mean {some(near, 3)}?" if near else "see `mirror-model train --options`"
        return BadInput("BAD_OPTION", "unknown option", file=file, key=key, hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    got = first["input"] if not isinstance(first["input"], dict) else None
    return BadInput("BAD_OPTION", message, file=file, key=key, got=got, hint="see `mirror-model train --options`")


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], above: str = "") -> list[str]:
    """Dotted keys whose values differ between two nested mappings, as ``key: theirs -> ours``."""
    found: list[str] = []
    for key in sorted({*ours, *theirs}):
        here, there = ours.get(key), theirs.get(key)
        name = f"{above}{key}"
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found += differences(here, there, f"{name}.")
        elif here != there and not (_nan(here) and _nan(there)):
            found.append(f"{name}: {there} -> {here}")
    return found


def _nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
