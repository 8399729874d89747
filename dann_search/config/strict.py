"""The base of every model a user's file is read into: no unknown keys, no nan, no true for a 1."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class FieldError(ValueError):
    """A rule of a model that one of its fields breaks, or a field of those within it."""

    def __init__(self, path: tuple[str | int, ...], message: str):
        super().__init__(message)
        self.path = path


class Strict(BaseModel):
    """Frozen; refuses unknown keys, infinite numbers, and booleans where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        types = leaf_types(cls.model_fields[str(info.field_name)].annotation)
        if bool not in types and (int in types or float in types):
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, bool):
                    raise ValueError(f"must be a number, got {str(item).lower()}")
        return value


def leaf_types(annotation: Any) -> list[Any]:
    """Return the types an annotation is made of: int and NoneType for ``int | None``."""
    parts = get_args(annotation)
    return [leaf for part in parts for leaf in leaf_types(part)] if parts else [annotation]
