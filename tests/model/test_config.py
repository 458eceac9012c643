from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from mirror_data.errors import BadInput
from mirror_model.config import MirrorConfig, describe_options, option_names, read_config
from mirror_model.identity import differences
from mirror_model.network_config import LossConfig


def bad(*settings: str, file: Path | None = None) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read_config(file, settings)
    assert caught.value.code == "BAD_OPTION"
    assert caught.value.exit == 2
    return caught.value


def test_defaults_are_the_published_settings() -> None:
    config = read_config()
    assert (config.epochs, config.batch_size, config.model.dim, config.data.tiles) == (100, 16, 768, 2048)
    assert (config.optimiser.name, config.optimiser.lr, config.optimiser.weight_decay) == ("adam", 2e-5, 0.0)
    assert config.model.attention == "exact"


def test_settings_override_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[train]\nepochs = 7\n[train.model]\ndim = 96\npool = "attention"\n[other]\nx = 1\n')
    config = read_config(recipe, ["model.dim=192", "optimiser.name=adamw", "data.standardise_tiles=true"])
    assert (config.epochs, config.model.dim, config.model.pool) == (7, 192, "attention")
    assert config.optimiser.name == "adamw"
    assert config.data.standardise_tiles is True
    recipe.write_text("epochs = 3\n")
    assert read_config(recipe).epochs == 3


def test_an_unknown_key_is_named_with_its_neighbours() -> None:
    error = bad("model.dimm=192")
    assert error.key == "model.dimm"
    assert "model.dim" in str(error.hint)
    assert "model.dim" in str(bad("dim=192").hint)
    assert bad("nothing.at.all=1").key == "nothing"


def test_bad_values_are_refused(tmp_path: Path) -> None:
    assert bad("batch_size=0").key == "batch_size"
    assert bad("epochs=1.5").key == "epochs"
    assert bad("model.dim=100").got is None
    assert "multiple" in str(bad("model.dim=100"))
    assert bad("model.pool=max").key == "model.pool"
    assert bad("optimiser.lr=nan").key == "optimiser.lr"
    assert "bag" in str(bad("model.attention=nystrom"))
    assert bad("epochs").key == "--set"
    assert bad("epochs.more=1").key in ("epochs", "epochs.more")
    broken = tmp_path / "broken.toml"
    broken.write_text("epochs = \n")
    assert bad(file=broken).file == str(broken)
    with pytest.raises(BadInput) as missing:
        read_config(tmp_path / "absent.toml")
    assert missing.value.code == "NOT_FOUND"


def test_loss_weights() -> None:
    assert [LossConfig().weight(t) for t in ("align", "slide_retention", "style")] == [0.5, 0.15, 0.1]
    paper = LossConfig(weights="paper", cluster=0.0)
    assert (paper.weight("align"), paper.weight("cluster")) == (1.0, 0.0)


def test_every_option_is_listed_once() -> None:
    names = option_names(MirrorConfig())
    assert len(names) == len(set(names)) == len(describe_options(MirrorConfig()))
    assert {"epochs", "model.dim", "loss.align", "optimiser.lr", "data.tiles", "runtime.threads"} <= set(names)


def test_differences_name_nested_keys() -> None:
    ours = {"a": 1, "b": {"c": 2, "d": 3}}
    assert differences(ours, {"a": 1, "b": {"c": 5, "d": 3}, "e": 0}) == ["b.c: 5 -> 2", "e: 0 -> None"]
    assert differences(ours, ours) == []


def test_a_variant_of_a_recipe_goes_before_it(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(
        "[train]\nepochs = 3\n[train.model]\ndim = 96\nrna_depth = 1\n"
        "[variant.wide.model]\ndim = 192\n[variant.long]\nepochs = 7\n"
    )
    assert (read_config(file).epochs, read_config(file).model.dim) == (3, 96)
    wide = read_config(file, variant="wide")
    assert (wide.epochs, wide.model.dim, wide.model.rna_depth) == (3, 192, 1)
    assert read_config(file, ["epochs=1"], variant="long").epochs == 1
    with pytest.raises(BadInput) as unknown:
        read_config(file, variant="deep")
    assert (unknown.value.key, unknown.value.expected) == ("--variant", "one of wide, long")
    with pytest.raises(BadInput, match="one of a recipe"):
        read_config(variant="wide")
    file.write_text("[train]\nepochs = 3\n[variant.bad.model]\nwidth = 1\n")
    with pytest.raises(BadInput, match="unknown option"):
        read_config(file, variant="bad")


def test_every_recipe_and_variant_can_be_read() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    assert len(recipes) >= 4
    for recipe in recipes:
        read_config(recipe)
        for variant in tomllib.loads(recipe.read_text()).get("variant", {}):
            read_config(recipe, variant=variant)
    folder = recipes[0].parent  # the ablation takes apart what the recipe trains
    assert read_config(folder / "ablation_brca.toml", variant="components") == read_config(folder / "region_bags.toml")
    published, ours = read_config(folder / "published.toml"), MirrorConfig()
    assert differences(published.model_dump(), ours.model_dump()) == [
        "data.bag: padded -> fixed", "model.attention: exact -> nystrom",
    ]  # fmt: skip
