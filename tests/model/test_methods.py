from __future__ import annotations

import pytest
from mirror_data.errors import BadInput
from mirror_model.baselines.config import CONFIGS, config_of
from mirror_model.config import read_config
from mirror_model.methods import METHODS, check_choice, method_of


def test_every_method_has_settings_of_its_own() -> None:
    assert set(METHODS) == set(CONFIGS) == {"mirror", "linear", "abmil", "transmil", "porpoise", "tangle"}
    assert all(config_of(name)().method == name for name in METHODS)
    assert [name for name, method in METHODS.items() if not method.tasks] == ["mirror", "tangle"]
    assert {name: method.needs for name, method in METHODS.items()} == {
        "mirror": (),
        "linear": ("slide", "rna"),
        "abmil": ("slide",),
        "transmil": ("slide",),
        "porpoise": ("slide", "rna"),
        "tangle": ("slide", "rna"),
    }


def test_what_does_not_go_together_is_refused() -> None:
    def key(method: str, config: object, genes: str | None = None) -> str | None:
        with pytest.raises(BadInput) as refused:
            check_choice(method, config, genes)
        assert (refused.value.code, refused.value.exit) == ("BAD_OPTION", 2)
        return refused.value.key

    assert key("magic", read_config()) == "--method"
    assert key("abmil", read_config()) == "--method"
    assert key("abmil", config_of("abmil")(), "top") == "--genes"
    assert check_choice("porpoise", config_of("porpoise")(), "top") is method_of("porpoise")
