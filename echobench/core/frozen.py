"""The pydantic model that plugin authors derive from or fill in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # its name is private to pydantic


class _OwnMembers(ModelMetaclass):
    """Limits `dir()`, and so `help()`, to public members of ours: pydantic has 400 lines."""

    def __dir__(self) -> list[str]:
        ours = [base for base in self.__mro__ if base not in BaseModel.__mro__]
        members = {name for base in ours for name in vars(base) if not name.startswith("_")}
        return sorted(members - {"model_config"})


class FrozenModel(BaseModel, metaclass=_OwnMembers):
    """A model whose fields cannot be changed, and which refuses unknown ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")
