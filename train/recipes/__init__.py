"""Recipes: everything a training run is made of, as frozen dataclasses; the named ones are TOML files here."""

from .recipe import DataConfig, DistillationConfig, Recipe, RoleConfig, load_recipe, recipe_names

__all__ = ["DataConfig", "DistillationConfig", "Recipe", "RoleConfig", "load_recipe", "recipe_names"]
