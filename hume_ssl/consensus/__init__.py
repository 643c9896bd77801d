"""From many labellings to one, and to the items of each class that can be relied on."""

from hume_ssl.consensus.answers import Corrected, apply_answers, name_classes, vote_shares
from hume_ssl.consensus.ask import Asked, ask
from hume_ssl.consensus.neighbours import neighbour_agreement
from hume_ssl.consensus.reliable import Picked, TooFewReliable, pick, reliable_items
from hume_ssl.consensus.vote import Consensus, align, find_consensus, match_to_old

__all__ = [
    "Asked",
    "Consensus",
    "Corrected",
    "Picked",
    "TooFewReliable",
    "align",
    "apply_answers",
    "ask",
    "find_consensus",
    "match_to_old",
    "name_classes",
    "neighbour_agreement",
    "pick",
    "reliable_items",
    "vote_shares",
]
