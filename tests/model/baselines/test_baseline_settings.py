from __future__ import annotations

from pathlib import Path

import pytest
from mirror_data.errors import BadInput
from mirror_model.baselines.config import CONFIGS, config_of
from mirror_model.config import describe_options, option_names, read_config


def test_defaults_are_the_published_settings() -> None:
    found = {
        name: (c.epochs, c.batch_size, c.optimiser.name, c.optimiser.lr, c.optimiser.weight_decay)
        for name, c in ((name, kind()) for name, kind in CONFIGS.items())
    }
    assert found["mirror"] == (100, 16, "adam", 2e-5, 0.0)
    assert found["abmil"] == (100, 1, "adam", 1e-4, 5e-4)
    assert found["transmil"] == (200, 1, "radam", 2e-4, 1e-5)
    assert found["porpoise"] == (20, 32, "adam", 2e-4, 1e-5)
    assert found["tangle"] == (100, 64, "adamw", 1e-4, 0.01)


def test_a_section_given_in_part_keeps_the_methods_other_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[train.optimiser]\nclip = 1.0\n")
    config = read_config(recipe, ["optimiser.lr=0.003"], kind=config_of("transmil"))
    kept = config.optimiser
    assert (kept.name, kept.lr, kept.weight_decay, kept.lookahead, kept.clip) == ("radam", 0.003, 1e-5, 5, 1.0)
    assert config.data.tiles == 16384
    assert config.model.attention == "nystrom"


@pytest.mark.parametrize("method", list(CONFIGS))
def test_every_option_is_listed_and_another_methods_are_unknown(method: str) -> None:
    config = config_of(method)()
    lines = describe_options(config)
    assert [line.split(" ")[0] for line in lines] == option_names(config)
    assert f"optimiser.lr = {config.optimiser.lr}" in lines
    foreign = "model.dim" if method == "linear" else "model.never"
    with pytest.raises(BadInput) as unknown:
        read_config(None, [f"{foreign}=8"], kind=config_of(method))
    assert (unknown.value.code, unknown.value.key) == ("BAD_OPTION", foreign)


def test_wrong_settings_are_refused() -> None:
    for method, setting, words in (
        ("transmil", "model.dim=100", "slide_heads"),
        ("abmil", "epochs=0", "choose = last"),
        ("porpoise", "model.dropout=1", "less than 1"),
        ("linear", "model.style_dim=4", "unknown option"),
        ("mirror", "patience=-1", "greater than or equal to 0"),
    ):
        with pytest.raises(BadInput, match="BAD_OPTION") as refused:
            read_config(None, [setting], kind=config_of(method))
        assert words in str(refused.value)
        assert refused.value.hint is None or "--options" in refused.value.hint or "did you mean" in refused.value.hint
    with pytest.raises(BadInput) as absent:
        config_of("magic")
    assert "transmil" in str(absent.value.expected)
