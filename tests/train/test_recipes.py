"""Recipes: the packaged ones, files, single settings, and what is refused."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.errors import UsageError  # noqa: E402
from dsrfau_edge.train.recipes import Recipe, load_recipe, recipe_names  # noqa: E402


@pytest.mark.parametrize("name", recipe_names())
def test_every_packaged_recipe_can_be_read(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_named_ones_are_there():
    assert {"dsrfau-s", "dsrfau-nano", "few-persons", "edge", "reference", "tiny"} <= set(recipe_names())


def test_settings_replace_single_values():
    recipe = load_recipe(
        "tiny",
        settings=["student.epochs=7", "data.held_out=0.5", "student.network.widths=[8, 8, 8]", "name=other",
                  "distillation.relation_stages=['stride4']", "teacher.learning_rate=1"],
    )  # fmt: skip
    assert recipe.student.epochs == 7
    assert recipe.teacher.epochs == 1
    assert recipe.student.network.widths == (8, 8, 8)
    assert recipe.distillation.relation_stages == ("stride4",)
    assert recipe.teacher.learning_rate == 1.0
    assert recipe.name == "other"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("student.epochs", "has no value"),
        ("student.epoch=1", "Unknown recipe setting student.'epoch'"),
        ("student.epochs=1.5", "wrong kind"),
        ("student.epochs=true", "wrong kind"),
        ("student=3", "wrong kind"),
        ("student.epochs.more=3", "wrong kind|is a value"),
        ("student.epochs=0", "positive"),
        ("data.held_out=1.5", "between 0 and 1"),
        ("data.balance=2", "0–1"),
        ("data.protocol=fera2016", "Unknown protocol"),
        ("data.weights=[0.0, 0.0]", "not all of them 0"),
        ("student.ema=1.0", "decay"),
        ("student.spread=0.5", "largest factor"),
        ("student.frozen_stages=2", "ImageNet"),
        ("student.warmup=1.0", "0–1"),
        ("distillation.feature_stages=['stride2']", "Unknown hidden stage"),
        ("distillation.region_wise=-1", "0 or more"),
        ("student.network.backbone=vgg", "Unknown backbone"),
    ],
)
def test_nonsense_is_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        load_recipe("tiny", [setting])


def test_a_file_is_a_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[student]\nepochs = 3\n")
    recipe = load_recipe(path)
    assert recipe.name == "mine"
    assert recipe.student.epochs == 3
    path.write_text("[student\n")
    with pytest.raises(UsageError, match=r"mine\.toml cannot be read"):
        load_recipe(str(path))


def test_unknown_names_name_the_known_ones():
    with pytest.raises(UsageError, match="dsrfau-nano"):
        load_recipe("gigantic")
