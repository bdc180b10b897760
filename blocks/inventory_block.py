"""What all our blocks share: loading with an operator's error message, and names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from copy import deepcopy
from typing import Any, Self, TypeVar

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import BlockDocument
from pydantic import TypeAdapter

from tasks.errors import PlanRefused

B = TypeVar("B", bound="InventoryBlock")
T = TypeVar("T")

# The most that the server gives at once.
PAGE = 200
_documents = TypeAdapter(list[BlockDocument])
_schemas: dict[tuple[object, ...], dict[str, Any]] = {}


class InventoryBlock(Block):
    """A thing of the fleet that is registered under a name."""

    @classmethod
    def model_json_schema(cls, *asked: Any, **also: Any) -> dict[str, Any]:
        """As Block's, but made once: Prefect asks several times a block, each time for all nested ones."""
        key = (cls, *asked, *sorted(also.items()))
        if key not in _schemas:
            _schemas[key] = super().model_json_schema(*asked, **also)
        return deepcopy(_schemas[key])

    def _event_method_called_resources(self) -> None:
        """No event says that a block was read: each flow reads dozens, and they were most of what it told."""

    @property
    def name(self) -> str:
        """The name it is registered under; PlanRefused when it was never saved."""
        if self._block_document_name is None:
            raise PlanRefused(
                f"a {self.get_block_type_slug()} was given that is not registered",
                "Save it first, with `packmaster inventory apply` or in the UI under Blocks",
            )
        return self._block_document_name

    def take_name(self, name: str) -> None:
        """Give a new block the name that it is going to be saved under."""
        self._block_document_name = name

    @classmethod
    def find(cls, name: str) -> Self | None:
        """The block registered as `name`, or None when there is none."""
        try:
            block = cls.load(name)
        except ValueError as missing:
            if "Unable to find block document" in str(missing):
                return None
            raise
        return _as_loaded(cls, block)

    @classmethod
    def get(cls, name: str, asked_by: str) -> Self:
        """The block registered as `name`; raises PlanRefused, saying who asked for it, when there is none."""
        found = cls.find(name)
        if found is None:
            raise PlanRefused(
                f"{asked_by} names the {cls.__name__} {name!a}, which is not registered",
                "Register it with `packmaster inventory apply`, or correct the name",
            )
        return found

    @classmethod
    def find_all(cls) -> dict[str, Self]:
        """Every block of this type by name, asked for at once: one client and one request for 200 of them."""
        return dict(cls._read({}))

    @classmethod
    def find_named(cls, names: Collection[str]) -> dict[str, Self]:
        """The blocks registered under these names, asked for at once; one that is not there is left out."""
        return dict(cls._read({"name": {"any_": sorted(names)}}))

    @classmethod
    def _read(cls, wanted: dict[str, Any]) -> Iterator[tuple[str, Self]]:
        """The blocks of this type by name. A type that nobody registered yet has none."""
        return ((block.name, _as_loaded(cls, block)) for block in _read_blocks((cls,), wanted))

    def register(self, known: Self | None = None) -> bool:
        """It is registered under its name as it is; returns whether that was a change.

        `known` is what this run has read under that name, so that it need not be read again.
        """
        registered = known or self.find(self.name)
        if registered is not None and _as_registered(registered) == _as_registered(self):
            return False
        self.save(self.name, overwrite=True)
        return True

    @classmethod
    def unregister(cls, name: str) -> None:
        """Nothing is registered as `name`; true also when another run was quicker."""
        try:
            cls.delete(name)
        except ValueError as missing:
            if "Unable to find block document" not in str(missing):
                raise


class Registered:
    """Every block of several types, asked for at once."""

    def __init__(self, *kinds: type[InventoryBlock]) -> None:
        self._blocks = tuple(_read_blocks(kinds, {}))

    def of(self, kind: type[B]) -> dict[str, B]:
        """Those of one of the types, by name."""
        return {block.name: block for block in self._blocks if isinstance(block, kind)}


def _read_blocks(kinds: Iterable[type[InventoryBlock]], wanted: dict[str, Any]) -> Iterator[InventoryBlock]:
    by_slug = {kind.get_block_type_slug(): kind for kind in kinds}
    asked = {
        "block_documents": wanted,
        "block_types": {"slug": {"any_": sorted(by_slug)}},
        "include_secrets": True,
        "limit": PAGE,
    }
    first, more = 0, True
    with get_client(sync_client=True) as client:
        while more:
            answer = client.request("POST", "/block_documents/filter", json={**asked, "offset": first})
            page = _documents.validate_python(answer.json())
            for each in page:
                kind = by_slug[each.block_type.slug if each.block_type else ""]
                yield _as_loaded(kind, kind._from_block_document(each))
            first, more = first + PAGE, len(page) == PAGE


def as_field_check(check: Callable[[T], object]) -> Callable[[T], T]:
    """A pydantic validator of a check that raises PlanRefused, so that a form refuses what a flow would."""

    def validate(value: T) -> T:
        try:
            check(value)
        except PlanRefused as refused:
            raise ValueError(str(refused)) from None
        return value

    return validate


def _as_registered(block: InventoryBlock) -> dict[str, Any]:
    """A block's own fields; those that are blocks count by name, for they are stored as references."""
    fields = {name: getattr(block, name) for name in type(block).model_fields}
    return {name: v.name if isinstance(v, InventoryBlock) else v for name, v in fields.items()}


def _as_loaded(cls: type[B], block: Any) -> B:
    if not isinstance(block, cls):
        raise TypeError(f"{cls.__name__}.load returned {type(block).__name__}")
    return block
