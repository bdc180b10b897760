"""Prefect's own standard for blocks, and ours: no secret is ever shown, every form explains itself."""

import json
from urllib.parse import urlsplit

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr

from blocks import (
    BLOCK_TYPES,
    Cluster,
    DatabaseServer,
    Mail,
    NfsServer,
    Pack,
    Platform,
    Share,
    Site,
    SshCredentials,
    WebServer,
)
from blocks.inventory_block import InventoryBlock

SECRET = "kept-to-itself"
CREDENTIALS = SshCredentials(private_key=SecretStr(SECRET))
SERVER = WebServer(
    address="192.0.2.1", kind="apache", credentials=CREDENTIALS, host_keys=["ssh-ed25519 AAAA"]
)
NFS = NfsServer(address="192.0.2.9", credentials=CREDENTIALS, host_keys=["ssh-ed25519 AAAA"])
SHARE = Share(server=NFS)
PACK = Pack(master=SERVER, slaves=["web2"], share=SHARE)
DATABASE = DatabaseServer(host="192.0.2.20", admin_user="root", admin_password=SecretStr(SECRET))
PLATFORM = Platform(target=SERVER, source="/srv/blog")
SITE = Site(
    uri="www.example.org",
    platform=PLATFORM,
    database=DATABASE,
    database_password=SecretStr(SECRET),
    pending_password=SecretStr(SECRET),
    retiring_password=SecretStr(SECRET),
    admin_password=SecretStr(SECRET),
)
CLUSTER = Cluster(servers=["web1"])
EXAMPLES: list[Block] = [CREDENTIALS, SERVER, NFS, DATABASE, SHARE, CLUSTER, PACK, PLATFORM, SITE]
MAIL = Mail(password=SecretStr(SECRET))
LOGO_HOST = "cdn.simpleicons.org"


@pytest.mark.parametrize("block", [*BLOCK_TYPES, Mail], ids=lambda block: block.__name__)
class TestBlockStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        block_type: type[Block] = request.param
        return block_type

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Prefect's suite downloads it; a test that needs the internet is not one of ours."""
        logo = urlsplit(str(block._logo_url))
        assert (logo.scheme, logo.hostname) == ("https", LOGO_HOST)
        assert len(logo.path) > 1

    def test_has_a_slug_of_our_own(self, block: type[Block]) -> None:
        """Pinned: a class that is renamed would otherwise leave its registered blocks behind."""
        assert block._block_type_slug == block.get_block_type_slug()
        assert block.get_block_type_slug().startswith("packmaster-")

    def test_every_block_field_has_a_description_too(self, block: type[Block]) -> None:
        assert all(field.description for field in block.model_fields.values())


def test_types_have_names_of_their_own() -> None:
    assert len({block_type.get_block_type_slug() for block_type in BLOCK_TYPES}) == len(BLOCK_TYPES)
    assert len({block_type.get_block_type_name() for block_type in BLOCK_TYPES}) == len(BLOCK_TYPES)
    assert {type(example) for example in EXAMPLES} == set(BLOCK_TYPES)


@pytest.mark.parametrize("example", [*EXAMPLES, MAIL], ids=lambda example: type(example).__name__)
def test_a_secret_is_never_shown(example: Block) -> None:
    assert SECRET not in f"{example} {example!r}"
    assert SECRET not in example.model_dump_json()
    assert SECRET not in str(example.model_dump())
    assert SECRET not in json.dumps(example.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("block_type", "secrets"),
    [
        (SshCredentials, ["private_key"]),
        (WebServer, ["credentials.private_key"]),
        (NfsServer, ["credentials.private_key"]),
        (DatabaseServer, ["admin_password", "probe_password"]),
        (Mail, ["password"]),
        (Site, ["database_password", "admin_password", "pending_password", "retiring_password"]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_prefect_knows_what_is_secret(block_type: type[Block], secrets: list[str]) -> None:
    """It encrypts and masks what is listed here, and nothing else."""
    assert set(secrets) <= set(block_type.model_json_schema()["secret_fields"])


def test_no_block_holds_a_list_of_blocks() -> None:
    """Prefect stores such a list inline: its secrets in plain text, and later changes not followed."""
    for block_type in BLOCK_TYPES:
        for name, field in block_type.model_json_schema()["properties"].items():
            assert "$ref" not in json.dumps(field.get("items", {})), f"{block_type.__name__}.{name}"


@pytest.mark.parametrize("block_type", BLOCK_TYPES)
def test_a_schema_that_is_made_once_is_prefects_and_cannot_be_spoilt(block_type: type[Block]) -> None:
    own = super(InventoryBlock, block_type).model_json_schema()
    block_type.model_json_schema()["properties"].clear()
    assert block_type.model_json_schema() == own
