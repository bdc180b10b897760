"""What would get in each other's way is found; what only looks like it is not."""

from pydantic import SecretStr

from blocks import DatabaseServer, NfsServer, Pack, Share, SshCredentials, WebServer
from blocks.inventory_block import InventoryBlock
from deployments.collisions import find_collisions

LOGIN = SshCredentials(private_key=SecretStr("key"))


def web(address: str, port: int = 22) -> WebServer:
    return WebServer(
        address=address, kind="nginx", credentials=LOGIN, host_keys=["ssh-ed25519 A"], ssh_port=port
    )


def nfs(address: str) -> NfsServer:
    return NfsServer(address=address, credentials=LOGIN, host_keys=["ssh-ed25519 A"])


def database(host: str, port: int = 3306) -> DatabaseServer:
    return DatabaseServer(host=host, port=port, admin_user="root", admin_password=SecretStr("x"))


def pack(share: str, master: str) -> Pack:
    shared = Share(server=nfs("192.0.2.61"))
    shared._block_document_name = share
    return Pack(master=web(master), slaves=["web9"], share=shared)


def find(blocks: dict[str, InventoryBlock]) -> list[str]:
    return list(find_collisions({(type(block), name): block for name, block in blocks.items()}))


def test_one_machine_under_two_names() -> None:
    assert find({"web1": web("Web.example.net"), "web2": web("web.example.net")}) == [
        "web1 and web2 are one web server, web.example.net port 22"
    ]
    assert find({"b": database("db"), "a": database("db"), "c": database("db", 3307)}) == [
        "a and b are one database server, db port 3306"
    ]
    assert find({"n1": nfs("192.0.2.5"), "n2": nfs("192.0.2.5")}) == [
        "n1 and n2 are one NFS server, 192.0.2.5 port 22"
    ]


def test_two_packs_of_one_share() -> None:
    packs = {"farm": pack("files", "web1"), "shop": pack("files", "web2"), "other": pack("more", "web3")}
    assert find(dict(packs)) == ["farm and shop are packs of one share, files"]


def test_what_only_looks_alike() -> None:
    """Ports that are forwarded to machines behind one address; a web server that exports its own share."""
    assert find({"web1": web("gate", 2201), "web2": web("gate", 2202), "files": nfs("gate")}) == []
