"""The form that an answer is held to, as OpenAI's, mlx-vlm's and vLLM's clients ask for it.

Knows nothing of how it is enforced, nor of the limits on its size.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from engine.api.response_format import Choice, Grammar, JsonObject, JsonSchema, Regex, ResponseFormat
from engine.serve.wire.body import invalid

_FIELD = "response_format"


class FormBody(BaseModel):
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    """vLLM's `json`, `json_object`, `regex`, `choice` or `grammar`; the last as Lark writes it."""
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None


def form_of(body: FormBody) -> ResponseFormat | None:
    """`None` for any. Raises `Refused` or `RequestError` for a form that is not known, and for two at once."""
    guided = {name: getattr(body, f"guided_{name}") for name in _MAKERS if name != "json_object"}
    found = [
        *_made("guided", guided),
        *_made("structured_outputs", body.structured_outputs or {}),
        *_response_format(body.response_format or {}),
    ]
    if len(found) > 1:
        raise invalid(_FIELD, "is one of several forms asked for at once", "Ask for one.")
    return found[0] if found else None


def response_form(given: Mapping[str, Any]) -> ResponseFormat | None:
    """Of OpenAI's `response_format`, or of `text.format`, where a schema stands beside its name."""
    return next(iter(_response_format(given)), None)


def _response_format(given: Mapping[str, Any]) -> list[ResponseFormat]:
    match given.get("type", "text"):
        case "text":
            return []
        case "json_object" | "object":
            return [JsonObject()]
        case "json_schema":
            return [_schema_of(given.get("json_schema", given))]
        case "regex":
            return [_regex(_FIELD, given.get("regex", given.get("pattern")))]
        case "choice":
            return [_choice(_FIELD, given.get("choice", given.get("choices")))]
        case "grammar":
            return [_grammar(_FIELD, given.get("grammar"))]
    raise invalid(
        _FIELD, "has a type that is not known", "Use text, json_object, json_schema, regex, choice or grammar."
    )


def _schema_of(given: object) -> ResponseFormat:
    if not isinstance(given, Mapping):
        raise invalid(f"{_FIELD}.json_schema", "is no object")
    if given.get("schema") is None:
        return JsonObject()
    strict = given.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise invalid(f"{_FIELD}.json_schema.strict", "is neither true nor false")
    return _schema(f"{_FIELD}.json_schema.schema", given["schema"], strict=bool(strict))


def _made(field: str, given: Mapping[str, Any]) -> list[ResponseFormat]:
    asked = {name: value for name, value in given.items() if value is not None and value is not False}
    if unknown := asked.keys() - _MAKERS.keys() - _LET_BE:
        raise invalid(field, f"has {len(unknown)} unknown names", f"Known are {', '.join(_MAKERS)}.")
    return [_MAKERS[name](f"{field}.{name}", value) for name, value in asked.items() if name in _MAKERS]


def _schema(field: str, given: object, *, strict: bool = False) -> ResponseFormat:
    if not isinstance(given, dict | bool | str):
        raise invalid(field, "is no schema")
    return JsonSchema.of(given, strict=strict)


def _object(field: str, given: object) -> ResponseFormat:
    if given is not True:
        raise invalid(field, "is neither true nor false")
    return JsonObject()


def _regex(field: str, given: object) -> ResponseFormat:
    if not isinstance(given, str):
        raise invalid(field, "is no regular expression")
    return Regex(given)


def _choice(field: str, given: object) -> ResponseFormat:
    if not isinstance(given, list) or not all(isinstance(option, str) for option in given):
        raise invalid(field, "is no list of texts")
    return Choice(tuple(given))


def _grammar(field: str, given: object) -> ResponseFormat:
    if not isinstance(given, str):
        raise invalid(field, "is no grammar")
    return Grammar(given)


_MAKERS = {"json": _schema, "json_object": _object, "regex": _regex, "choice": _choice, "grammar": _grammar}
_LET_BE = {"whitespace_pattern", "disable_fallback", "disable_any_whitespace", "disable_additional_properties"}
"""Of vLLM's: how its own engine goes about it."""
