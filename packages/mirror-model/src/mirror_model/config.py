"""What a training run is made of: frozen, validated sections; an unknown key is an error.

Each method has a class of its own settings (`MirrorConfig` here, the others in `baselines.config`), with the published
ones as defaults; recipes choose better ones for their data.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin, overload

from mirror_data.errors import BadInput, some
from pydantic import Field, ValidationError, field_validator, model_validator

from mirror_model.network_config import LossConfig, ModelConfig, Section
from mirror_model.trackers import TrackerName

Epochs = Annotated[int, Field(ge=0, description="0 gives the untrained network")]
BatchSize = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
Choice = Annotated[Literal["last", "best"], Field(description="which epoch is kept: the last, or best validation loss")]
Patience = Annotated[
    int, Field(ge=0, description="epochs without a better validation loss before training ends; 0: never")
]


class OptimiserConfig(Section):
    """The optimiser, its learning-rate schedule, and averages of the weights."""

    name: Literal["adam", "adamw", "radam"] = "adam"
    lr: float = Field(2e-5, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="of matrices; biases, norms and tokens are never decayed")
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps; one_cycle without it takes 0.3")
    clip: float = Field(0.0, ge=0, description="largest gradient norm; 0 for no limit")
    lookahead: int = Field(0, ge=0, description="steps after which slow weights go half the way; 0: none")
    ema: float = Field(0.0, ge=0, lt=1, description="keep the moving average of the weights with this decay; 0: none")

    @model_validator(mode="after")
    def _fits(self) -> OptimiserConfig:
        if self.lookahead and self.ema:
            raise ValueError("lookahead and ema are two ways to average weights: choose one")
        return self


class DataConfig(Section):
    """From patients to batches."""

    tiles: int = Field(2048, ge=1, le=2**24, description="N, most tiles of a slide in a training step")
    bag: Literal["padded", "fixed", "mean"] = Field(
        "padded", description="fixed: exactly N tiles a patient, repeated if fewer; mean: one, the mean of all tiles"
    )
    token_order: Literal["raster", "hilbert", "none"] = "raster"
    embed_tiles: int = Field(16384, ge=1, le=2**24, description="most tiles of a slide in an embedding or a prediction")
    standardise_tiles: bool = Field(False, description="tile features to mean 0, sd 1, fitted on the training patients")
    rna_quantile: float = Field(0.005, ge=0, lt=0.5, description="genes are cut at these training quantiles; 0: no cut")
    rna_clip: float = Field(10.0, gt=0, description="largest size of a standardised value")
    gene_sets: str | None = Field(None, description="GMT file; a set becomes a token of rna_tokens = gene_group")
    eval_batch_size: int = Field(64, ge=1)


class RuntimeConfig(Section):
    """How the work is done on this machine. What cannot change a result is not compared when a run is resumed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(1, ge=1, le=1024, description="CPU threads of one fold; folds run side by side with --workers")
    cache_gb: float = Field(4.0, ge=0, description="tile features kept in memory by each fold; the rest is read again")
    validate_every: int = Field(1, ge=1, description="epochs between two looks at the validation part")
    micro_batch: int = Field(
        0, ge=0, description="patients in memory at a time; the gradients stay the whole batch's. 0: all"
    )
    compile: bool = Field(False, description="torch.compile the attention and transformer blocks")
    deterministic: bool = Field(False, description="refuse GPU operations that differ from run to run; a CPU's do not")
    timeout_s: float = Field(25.0, gt=0, description="how long a process waits for the others before it gives up")
    track: TrackerName = Field("none", description="where metrics go beside metrics.jsonl")


class TrainConfig(Section):
    """Everything that decides a training run, apart from the data it is given: what all methods have."""

    method: ClassVar[str] = ""  # as --method names it

    epochs: Epochs = 100
    batch_size: BatchSize = 16
    seed: int = Field(0, ge=0)
    precision: Precision = "auto"
    choose: Choice = "last"
    patience: Patience = 0
    model: Section = Section()  # each method has its own
    optimiser: OptimiserConfig = OptimiserConfig()
    data: DataConfig = DataConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, values: Any) -> Any:
        """A section given in part keeps the method's own defaults for the rest."""
        if not isinstance(values, Mapping):
            return values
        filled = dict(values)
        for name, field in cls.model_fields.items():
            given = filled.get(name)
            if isinstance(field.default, Section) and isinstance(given, Mapping):
                filled[name] = {**field.default.model_dump(), **given}
        return filled

    @field_validator("epochs", "batch_size", "seed", "patience", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError("must be a whole number")
        return value

    @model_validator(mode="after")
    def _trains(self) -> TrainConfig:
        if self.choose == "best" and self.epochs == 0:
            raise ValueError("choose = best needs at least one epoch: set choose = last")
        return self

    @property
    def width(self) -> int:
        """D, which decides whether bf16 pays; 0 where it never does."""
        return 0

    @property
    def gene_groups(self) -> int | None:
        """M, where the genes are to be grouped."""
        return None

    @property
    def rna_axes(self) -> bool:
        """Whether the network starts from the principal axes of the training patients' expression."""
        return False

    @property
    def one_by_one(self) -> bool:
        """Whether a patient's result depends on the others in its batch, so that it is asked for alone."""
        return False


class MirrorConfig(TrainConfig):
    """MIRROR: the published settings (paper, section IV-A) with exact attention."""

    method: ClassVar[str] = "mirror"

    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()

    @model_validator(mode="after")
    def _fits(self) -> MirrorConfig:
        if self.model.attention == "nystrom" and self.data.bag == "padded":
            raise ValueError("model.attention = nystrom knows no padding: set data.bag = fixed as well")
        return self

    @property
    def width(self) -> int:
        return self.model.dim

    @property
    def gene_groups(self) -> int | None:
        return self.model.rna_groups if self.model.rna_tokens == "gene_group" else None

    @property
    def rna_axes(self) -> bool:
        return self.model.rna_skip and self.model.rna_skip_start == "components"

    @property
    def one_by_one(self) -> bool:
        return self.model.attention == "nystrom"


Config = TypeVar("Config", bound=TrainConfig)


@overload
def read_config(
    file: Path | None = None, settings: Sequence[str] = (), *, variant: str | None = None
) -> MirrorConfig: ...
@overload
def read_config(
    file: Path | None = None, settings: Sequence[str] = (), *, kind: type[Config], variant: str | None = None
) -> Config: ...
def read_config(
    file: Path | None = None,
    settings: Sequence[str] = (),
    *,
    kind: type[TrainConfig] = MirrorConfig,
    variant: str | None = None,
) -> TrainConfig:
    """Defaults, then a recipe, then ``key=value`` settings with dotted keys (``model.dim=192``).

    Args:
        file: a TOML file. If it has a table ``[train]``, only that table is read, so that one recipe file can hold the
            settings of every command; keys of the command line's own options (``method``, ``genes``, ...) do not
            belong there.
        settings: values are written as in TOML; text needs no quotes.
        variant: name of a table ``[variant.NAME]`` of the recipe, whose settings go before those of ``[train]``.
        kind: the class of the method's settings (`baselines.config.config_of`).

    Raises:
        BadInput: ``NOT_FOUND``, or ``BAD_OPTION`` naming the key.
    """
    if variant is not None and file is None:
        raise BadInput("BAD_OPTION", "a variant is one of a recipe", key="--variant", expected="--config", got=variant)
    values: dict[str, Any] = _read_toml(file, variant) if file else {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key.strip():
            raise BadInput("BAD_OPTION", "a setting is written key=value", key="--set", got=setting)
        _put(values, key.strip(), _value(text.strip()))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _bad_option(error, file, kind) from None


def _read_toml(file: Path, variant: str | None) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput("NOT_FOUND", "there is no such recipe", file=file) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput("BAD_OPTION", "the recipe cannot be read", file=file, got=error) from None
    variants = _table(values.pop("variant", {}), "variant", file)
    found = _table(values.get("train", values), "train", file)
    if variant is None:
        return found
    if variant not in variants:
        expected = f"one of {some(list(variants), 20)}" if variants else "a recipe with tables [variant.NAME]"
        message = "the recipe has no such variant"
        raise BadInput("BAD_OPTION", message, file=file, key="--variant", expected=expected, got=variant)
    return _merged(found, _table(variants[variant], f"variant.{variant}", file))


def _table(value: Any, key: str, file: Path) -> dict[str, Any]:
    """A part of a recipe that must be a table."""
    if not isinstance(value, dict):
        raise BadInput("BAD_OPTION", "this part of a recipe is a table", file=file, key=key, expected=f"[{key}]")
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, those of ``above`` first."""
    found = dict(below)
    for name, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = _merged(found[name], value) if both else value
    return found


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
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text  # a second line would be another setting, unseen


def option_names(config: Section, above: str = "") -> list[str]:
    """Dotted names of all options."""
    names: list[str] = []
    for name, value in config:
        names += option_names(value, f"{above}{name}.") if isinstance(value, Section) else [f"{above}{name}"]
    return names


def describe_options(config: Section, above: str = "") -> list[str]:
    """A line for every option: its dotted name, its value in ``config``, choices and meaning."""
    lines: list[str] = []
    for name, field in type(config).model_fields.items():
        value, kind = getattr(config, name), field.annotation
        if isinstance(value, Section):
            lines += describe_options(value, f"{above}{name}.")
            continue
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        notes = [" | ".join(choices)] if choices else []
        notes += [field.description] if field.description else []
        shown = "" if value is None else f" = {str(value).lower() if isinstance(value, bool) else value}"
        lines.append(f"{above}{name}{shown}" + (f"    # {'; '.join(notes)}" if notes else ""))
    return lines


def _bad_option(error: ValidationError, file: Path | None, kind: type[TrainConfig]) -> BadInput:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or None
    see = f"see `mirror-model train --method {kind.method} --options`"
    if first["type"] == "extra_forbidden" and key:
        names = option_names(kind())
        leaf = key.rpartition(".")[2]
        near = [n for n in names if n.rpartition(".")[2] == leaf]
        near += [n for n in difflib.get_close_matches(key, names, 3, 0.6) if n not in near]
        hint = f"did you mean {some(near, 3)}?" if near else see
        return BadInput("BAD_OPTION", "unknown option", file=file, key=key, hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    got = first["input"] if not isinstance(first["input"], dict) else None
    return BadInput("BAD_OPTION", message, file=file, key=key, got=got, hint=see)
