"""From many labellings to one, and to the items of each class that can be relied on."""

from hume_ssl.consensus.align import align, match, match_to_old
from hume_ssl.consensus.answers import Corrected, apply_answers, name_classes, people_first, vote_shares
from hume_ssl.consensus.ask import Asked, ask
from hume_ssl.consensus.nearest import Nearest, find_nearest, find_nearest_of_new
from hume_ssl.consensus.neighbours import agreement_of, agreement_of_new, chosen_spaces, neighbour_agreement
from hume_ssl.consensus.prototypes import likeness
from hume_ssl.consensus.reliable import TooFewReliable, reliable_items
from hume_ssl.consensus.sizes import Sizes, class_sizes
from hume_ssl.consensus.stability import stability
from hume_ssl.consensus.strategies import DEFAULT_STRATEGY, Picked, Strategy, pick
from hume_ssl.consensus.vote import Consensus, find_consensus, vote_share, weighted_vote

__all__ = [
    "DEFAULT_STRATEGY",
    "Asked",
    "Consensus",
    "Corrected",
    "Nearest",
    "Picked",
    "Sizes",
    "Strategy",
    "TooFewReliable",
    "agreement_of",
    "agreement_of_new",
    "align",
    "apply_answers",
    "ask",
    "chosen_spaces",
    "class_sizes",
    "find_consensus",
    "find_nearest",
    "find_nearest_of_new",
    "likeness",
    "match",
    "match_to_old",
    "name_classes",
    "neighbour_agreement",
    "people_first",
    "pick",
    "reliable_items",
    "stability",
    "vote_share",
    "vote_shares",
    "weighted_vote",
]
