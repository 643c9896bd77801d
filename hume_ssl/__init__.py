"""hume_ssl: images without labels in; a labelled set you can trust, and a classifier trained from it, out.

The functions of the Python API take arrays and need no run folder; each is loaded when first used, so that
`import hume_ssl` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hume_ssl.api import assign, discover, evaluate, find_consensus, select, train_fixmatch

__version__ = "0.1.0"

__all__ = ["__version__", "assign", "discover", "evaluate", "find_consensus", "select", "train_fixmatch"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hume_ssl' has no attribute {name!r}")
    from hume_ssl import api

    value = getattr(api, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
