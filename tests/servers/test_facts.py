"""What facts.sh prints, and what becomes of it."""

import base64

from tasks.scripts import read_script
from tasks.servers.facts import parse_facts, parse_keys
from tasks.servers.nginx import INCLUDE
from tasks.servers.state import Account, PathState, ServiceState


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_prepared_server_is_read() -> None:
    facts = parse_facts(
        "web1",
        "system\tDebian GNU/Linux 12 (bookworm)\tdebian \n"
        "package\trsync\npackage\tnginx\nphp\t8.2\n"
        "user\taegir:x:5000:5001::/var/aegir:/bin/bash\taegir,www-data\n"
        "group\taegir:x:5001:\nuid_holder\taegir\ngid_holder\taegir\nweb_group\twww-data\n"
        "path\t/var/aegir\tdirectory\taegir\taegir\t755\t\n"
        "path\t/var/aegir/config/live\tlink\taegir\taegir\t777\tgenerations/1\n"
        "module\trewrite\n"
        f"nginx_conf\t{encode('http {' + chr(10) + INCLUDE + chr(10) + '}')}\n"
        f"keys\t{encode('ssh-ed25519 AAAAone me@here')}\n"
        f"service\tnginx\tyes\tno\tyes\t{encode('unexpected end of file')}\n"
        "listener\tapache2\nstray_policy\t/usr/sbin/policy-rc.d\nfrom the future\t1\n",
    )
    assert facts.system == "Debian GNU/Linux 12 (bookworm)"
    assert facts.families == {"debian"}
    assert facts.packages == {"rsync", "nginx"}
    assert facts.php == "8.2"
    assert facts.user == Account(
        "aegir", 5000, 5001, "/var/aegir", "/bin/bash", frozenset({"aegir", "www-data"})
    )
    assert facts.group_gid == 5001
    assert (facts.uid_holder, facts.gid_holder, facts.web_group) == ("aegir", "aegir", True)
    assert facts.path("/var/aegir") == PathState("directory", "aegir", "aegir", 0o755)
    assert facts.path("/var/aegir/config/live").digest == "generations/1"
    assert facts.path("/nowhere") == PathState()
    assert facts.modules == {"rewrite"}
    assert facts.include == "present"
    assert facts.keys == {"ssh-ed25519 AAAAone"}
    assert facts.service("nginx") == ServiceState(True, False, True, "unexpected end of file")
    assert facts.listeners == {"apache2"}
    assert facts.stray_policy


def test_a_system_without_dpkg_says_only_what_it_is() -> None:
    facts = parse_facts("web1", "system\tAlpine Linux v3.20\talpine \n")
    assert facts.system == "Alpine Linux v3.20"
    assert facts.families == {"alpine"}
    assert facts.user is None
    assert facts.include == "no file"


def test_a_server_that_says_nothing_has_no_family() -> None:
    assert parse_facts("web1", "").families == frozenset()


def test_keys_are_read_without_options_and_comments() -> None:
    text = (
        "# ssh-rsa AAAAcomment\n\n"
        "ssh-ed25519 AAAAone me@here\n"
        'from="10.0.0.0/8",command="echo \\"ssh-rsa AAAAno\\"" ecdsa-sha2-nistp256 AAAAtwo\n'
        "restrict ssh-rsa AAAAthree it's mine\n"
        "no key at all\n"
    )
    assert parse_keys(text) == {"ssh-ed25519 AAAAone", "ecdsa-sha2-nistp256 AAAAtwo", "ssh-rsa AAAAthree"}


def test_scripts_come_after_what_they_share() -> None:
    script = read_script("tasks.servers", "facts")
    assert script.index("is_running()") < script.index("facts.sh WEB_SERVICE")
