"""What the typed commands of an agency system are made of: bounded texts and what all commands share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Ref = Annotated[str, Field(min_length=1, max_length=128)]
Code = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_]+$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Moment = Annotated[str, Field(min_length=16, max_length=40)]
Spelled = Annotated[str, Field(min_length=32, max_length=36, pattern=r"^[0-9a-fA-F-]+$")]
Heard = Annotated[str, Field(min_length=32, max_length=64)]
Method = Literal["WRITTEN", "EID", "ORAL_DOCUMENTED"]


class Command(BaseModel):
    """What all commands share."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    actor_ref: Annotated[str, Field(max_length=64)] = ""


class CaseCommand(Command):
    """A command about one case, which the agency names by its own reference."""

    ref: Ref
