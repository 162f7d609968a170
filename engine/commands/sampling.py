"""The flags that say how tokens are chosen, spelled as users of mlx-vlm and mlx-lm know them.

Knows nothing of what they do. What is not given is left to the model's own generation settings.
"""

import argparse
from dataclasses import fields

from engine.api.settings import SamplingSettings
from engine.commands.numbers import FRACTION, NOT_NEGATIVE, POSITIVE, PROPORTION, at_least, between


def add_sampling_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--temperature", type=NOT_NEGATIVE, metavar="T", help="0 is greedy")
    group.add_argument("--top-p", type=PROPORTION, metavar="P", help="nucleus sampling")
    group.add_argument("--top-k", type=at_least(0), metavar="K", help="0 is off")
    group.add_argument("--min-p", type=FRACTION, metavar="P", help="drop tokens less likely than this fraction")
    group.add_argument("--repetition-penalty", type=POSITIVE, metavar="R", help="above 1 discourages repeats")
    group.add_argument("--repetition-context-size", type=at_least(0), metavar="N", help="tokens the penalty looks at")
    group.add_argument(
        "--presence-penalty", type=between(-2, 2), metavar="R", help="above 0 discourages what was said already"
    )
    group.add_argument("--presence-context-size", type=at_least(0), metavar="N", help="tokens that penalty looks at")
    group.add_argument(
        "--frequency-penalty", type=between(-2, 2), metavar="R", help="above 0 discourages what was said often"
    )
    group.add_argument("--frequency-context-size", type=at_least(0), metavar="N", help="tokens that penalty looks at")
    group.add_argument("--xtc-probability", type=FRACTION, metavar="P", help="how often the likeliest are left out")
    group.add_argument("--xtc-threshold", type=between(0, 0.5), metavar="P", help="how likely those have to be")
    group.add_argument("--seed", type=at_least(0), metavar="N", help="the same seed gives the same text")


def sampling_settings(arguments: argparse.Namespace) -> SamplingSettings:
    names = [field.name for field in fields(SamplingSettings) if hasattr(arguments, field.name)]
    return SamplingSettings(**{name: getattr(arguments, name) for name in names})
