"""From many labellings to one, and to the items of each class that can be relied on."""

from hume_ssl.consensus.align import align, match, match_to_old
from hume_ssl.consensus.neighbours import neighbour_agreement
from hume_ssl.consensus.reliable import Picked, TooFewReliable, pick, reliable_items
from hume_ssl.consensus.stability import stability
from hume_ssl.consensus.vote import Consensus, find_consensus, vote_share, weighted_vote

__all__ = [
    "Consensus",
    "Picked",
    "TooFewReliable",
    "align",
    "find_consensus",
    "match",
    "match_to_old",
    "neighbour_agreement",
    "pick",
    "reliable_items",
    "stability",
    "vote_share",
    "weighted_vote",
]
