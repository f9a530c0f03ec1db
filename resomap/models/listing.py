"""Table of the models that `resomap models [PATTERN]` prints."""

from resomap.core.errors import ResomapError
from resomap.core.text import did_you_mean
from resomap.models.index import load_index


def print_models(pattern: str | None) -> None:
    """Print name, family and library of each model that the pattern finds in its name or family (`*`, `?` allowed).

    Without a pattern: all, timm's tagged names left out. Raises ResomapError where nothing matches.
    """
    index = load_index()
    found = index.search(pattern) if pattern else [item for item in index.search("") if "." not in item.name]
    if not found:
        hint = did_you_mean(pattern or "", (name for name in index.names() if "." not in name))
        raise ResomapError(f"no model name holds '{pattern}'{hint or '; `resomap models` lists them all'}")
    name_width = max(len(item.name) for item in found)
    family_width = max(len(item.family) for item in found)
    for item in found:
        fixed = "  input size fixed when built" if item.fixed_input else ""
        print(f"{item.name:<{name_width}}  {item.family:<{family_width}}  {item.library}{fixed}".rstrip())
