"""Whatever is registered is complete everywhere; what is broken is named."""

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from dann_search.config.entries import Registry
from dann_search.config.extensions import (
    AUGMENTATIONS,
    METHODS,
    SAMPLERS,
    VALIDATORS,
    MethodSpec,
    Option,
    SamplerSpec,
)
from dann_search.config.schema import experiment_schema
from dann_search.config.start_points import published_recipes
from dann_search.config.trial import TrialConfig, own_options
from dann_search.errors import InputError
from dann_search.report.words import in_words
from docs.make_tables import PAGES, filled

REGISTRIES: tuple[Registry[Any], ...] = (METHODS, VALIDATORS, AUGMENTATIONS, SAMPLERS)
OPTIONS = list(own_options().values())
STAGES = ("stem", "top")


def words_of(**recipe: Any) -> str:
    config = TrialConfig.model_validate(recipe)
    return " ".join(text for _, text in in_words(config, STAGES, pretrained=True)).lower()


def test_the_schema_offers_exactly_what_is_registered() -> None:
    definitions = experiment_schema()["$defs"]
    recipe = definitions["TrialConfig"]["properties"]
    search = definitions["SearchConfig"]["properties"]
    assert recipe["method"]["enum"] == list(METHODS)
    assert search["objective"]["enum"] == ["f1_macro", *VALIDATORS]
    assert search["sampler"]["enum"] == list(SAMPLERS)
    for option in OPTIONS:
        assert recipe[option.name]["default"] == option.neutral
        assert recipe[option.name]["description"] == option.description


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_tables_of_the_docs_are_those_of_the_registries(page: Path) -> None:
    assert page.read_text() == filled(page.read_text()), "run: python docs/make_tables.py"


def test_the_docs_tell_of_every_name_and_of_every_field_of_a_recipe() -> None:
    text = "".join(page.read_text() for page in PAGES)
    names = [name for registry in REGISTRIES for name in registry]
    for name in [*names, *TrialConfig.model_fields]:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("option", OPTIONS, ids=[option.name for option in OPTIONS])
def test_an_option_is_neutral_by_default_in_published_recipes_and_in_the_report(
    option: Option,
) -> None:
    assert TrialConfig.model_fields[option.name].default == option.neutral
    for origin, recipe in published_recipes().items():
        assert recipe[option.name] == option.neutral or origin == "tllib", option.name
    value = option.high if option.neutral < option.high else (option.low + option.high) / 2
    told = option.told(value).lower()
    bringing = [name for name, method in METHODS.items() if option in method.options]
    method = bringing[0] if bringing else "dann"
    assert told in words_of(**{"method": method, option.name: value})
    assert told not in words_of()


@pytest.mark.parametrize("name", METHODS)
def test_the_report_tells_of_every_method(name: str) -> None:
    assert METHODS[name].words.lower() in words_of(method=name)


def test_the_report_tells_of_every_value_of_every_choice() -> None:
    for name, info in TrialConfig.model_fields.items():
        if get_origin(info.annotation) is not None:
            for value in get_args(info.annotation):
                if isinstance(value, str):
                    assert words_of(**{name: value})


def test_names_are_known_without_torch_ray_or_optuna() -> None:
    code = (
        "import sys; from dann_search.config.schema import experiment_schema; experiment_schema();"
        "heavy = {'torch', 'ray', 'optuna', 'sklearn'}; assert not heavy & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def sampler(name: str = "own") -> SamplerSpec:
    return SamplerSpec(name=name, words="chance")


def test_a_taken_name_is_refused_and_the_same_module_may_register_again() -> None:
    registry: Registry[SamplerSpec] = Registry("sampler")
    registry.register(sampler())(lambda search, seed: None)
    registry.register(sampler())(again := lambda search, seed: 1)
    assert registry.code("own") is again
    with pytest.raises(ValueError, match=r"name own is taken by tests\.extension\.test_registries"):
        registry.register(sampler())(Path)


def test_the_order_does_not_depend_on_what_is_imported_first() -> None:
    code = "; print(list(VALIDATORS), list(METHODS))"
    registries = "from dann_search.config.extensions import METHODS, VALIDATORS"
    orders = set()
    for first in ("validators.predictions", "methods.mcc"):
        lines = f"import dann_search.training.{first}; {registries}{code}"
        words = [sys.executable, "-c", lines]
        orders.add(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    assert len(orders) == 1 and "mcc" in orders.pop()


def test_entries_registered_in_a_notebook_are_fields_and_leave_other_draws_alone() -> None:
    script = Path(__file__).with_name("notebook.py")
    subprocess.run([sys.executable, str(script)], check=True)


def test_what_something_would_have_no_words_for_is_refused() -> None:
    with pytest.raises(ValueError, match="MethodSpec 'own' needs its 'words'"):
        MethodSpec(name="own", words=" ", term="x", source="x")
    with pytest.raises(ValueError, match="neutral 2 is not in its range"):
        Option(name="own", neutral=2, description="x", words="x")


def test_an_option_that_a_recipe_has_already_is_refused() -> None:
    option = Option(name="momentum", neutral=0.0, description="x", words="x")
    spec = MethodSpec(name="own", words="x", term="x", source="x", options=(option,))
    with pytest.raises(ValueError, match="method own: a recipe already has a field momentum"):
        METHODS.add(spec, None)
    assert "own" not in METHODS


def test_a_package_that_cannot_be_imported_is_named_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[dann_search.oddities]\nodd = not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[SamplerSpec] = Registry("odditie")
    for _ in range(2):
        with pytest.raises(InputError, match=r"odd = not_there of broken .*No module named"):
            len(registry)
