"""Recipes: everything a training run is made of, as frozen dataclasses; the named ones are TOML files here."""

from .recipe import (
    DataConfig,
    DistillationConfig,
    QatConfig,
    Recipe,
    RoleConfig,
    load_recipe,
    recipe_names,
    recipe_with,
)

__all__ = [
    "DataConfig",
    "DistillationConfig",
    "QatConfig",
    "Recipe",
    "RoleConfig",
    "load_recipe",
    "recipe_names",
    "recipe_with",
]
