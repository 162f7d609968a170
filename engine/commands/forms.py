"""The flags that hold an answer to a form: JSON, a schema, a regular expression, a choice, a grammar.

Knows nothing of how it is held.
"""

import argparse
from pathlib import Path

from engine.api.errors import RequestError
from engine.api.response_format import Choice, Grammar, JsonObject, JsonSchema, Regex, ResponseFormat


def add_form_flags(parser: argparse.ArgumentParser) -> None:
    title = "form of the answer", "one at most; a model that thinks does so first"
    group = parser.add_argument_group(*title).add_mutually_exclusive_group()
    group.add_argument("--json-object", action="store_true", help="a JSON object, whatever is in it")
    group.add_argument("--json-schema", type=Path, metavar="FILE", help="JSON as the schema in this file says")
    group.add_argument("--regex", metavar="PATTERN", help="text that this regular expression matches as a whole")
    group.add_argument("--choices", action="extend", nargs="+", metavar="TEXT", help="one of these texts")
    group.add_argument("--grammar", type=Path, metavar="FILE", help="text of the grammar in this file (Lark)")


def response_format(arguments: argparse.Namespace) -> ResponseFormat | None:
    """Raises `RequestError` for a file that cannot be read, and for what is no schema."""
    if arguments.json_object:
        return JsonObject()
    if arguments.json_schema is not None:
        return JsonSchema(_read(arguments.json_schema), strict=True)
    if arguments.regex is not None:
        return Regex(arguments.regex)
    if arguments.choices:
        return Choice(tuple(arguments.choices))
    return None if arguments.grammar is None else Grammar(_read(arguments.grammar))


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RequestError(f"{path} cannot be read: {reason}.", "Check the name of the file.") from error
