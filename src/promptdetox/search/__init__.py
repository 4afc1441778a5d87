"""Search over the settings of a recipe.

::

    load_search(path)      -> SearchRecipe      (checked: every value fits its setting)
    search(recipe, ...)    -> trial folders     (study.db, trials.jsonl, best.toml beside them)
"""

from promptdetox.search.space import SearchRecipe, load_search
from promptdetox.search.trials import search

__all__ = ["SearchRecipe", "load_search", "search"]
