"""What every body of a request shares: known fields are checked, unknown ones let be, and some are refused by name.

Knows no particular body, nothing of HTTP and nothing of the engine.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from engine.serve.failures import Refused

MOST = 2**31 - 1
"""Of anything that is counted. More is a mistake."""

MOST_NESTED = 128
"""Objects and lists in one another. Python itself gives up at about a thousand, at one place or another."""

_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def _whole(text: str) -> str:
    if _HALF_A_PAIR.search(text):
        raise ValueError("half of a surrogate pair is no character")
    return text


Words = Annotated[str, AfterValidator(_whole)]
"""What a model is to read."""
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0, le=MOST)]
Positive = Annotated[int, Field(strict=True, ge=1, le=MOST)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""Neither a truth value nor a text, and finite. Its limits are added where it is used."""

_OWNER = "That is up to whoever runs the server. Leave it out."
REFUSED: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        (
            "adapter",
            "adapter_path",
            "adapters",
            "chat_template",
            "code",
            "custom_logit_processor",
            "draft_model",
            "draft_model_path",
            "logits_processors",
            "lora",
            "lora_path",
            "output_dir",
            "output_file",
            "output_path",
            "processor_path",
            "template",
            "tokenizer_path",
            "trust_remote_code",
        ),
        _OWNER,
    )
    | {"functions": "Use tools.", "function_call": "Use tool_choice."}
)
"""Fields that a request may not have, each with what to do instead. They may be null."""


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str | None = Field(None, max_length=1024)

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        """Raises `Refused`, which is no error of validation."""
        if _depth(given) > MOST_NESTED:
            raise invalid("The body", f"is nested more than {MOST_NESTED} deep")
        if isinstance(given, Mapping):
            for name in REFUSED.keys() & given.keys():
                if given[name] is not None:
                    raise not_supported(name, REFUSED[name])
        return given


def _depth(value: Any) -> int:
    """Level by level, since what is too deep cannot be gone into."""
    depth, level = 0, [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        inside = (inner for each in level for inner in (each.values() if isinstance(each, dict) else each))
        level = [inner for inner in inside if isinstance(inner, dict | list)]
    return depth


def not_supported(name: str, hint: str) -> Refused:
    """What to raise for the field of that name."""
    return Refused(f"{name} is not supported.", hint, code="unsupported_parameter", param=name)


def invalid(name: str, problem: str, hint: str = "") -> Refused:
    """What to raise for a value of the field of that name."""
    return Refused(f"{name} {problem}.", hint, code="invalid_value", param=name)
