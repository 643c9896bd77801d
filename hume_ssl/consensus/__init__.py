"""From many labellings to one, and to the items of each class that can be relied on."""

from hume_ssl.consensus.neighbours import neighbour_agreement
from hume_ssl.consensus.reliable import Picked, TooFewReliable, pick, reliable_items
from hume_ssl.consensus.sizes import Sizes, class_sizes
from hume_ssl.consensus.vote import Consensus, align, find_consensus, match_to_old

__all__ = [
    "Consensus",
    "Picked",
    "Sizes",
    "TooFewReliable",
    "align",
    "class_sizes",
    "find_consensus",
    "match_to_old",
    "neighbour_agreement",
    "pick",
    "reliable_items",
]
