"""The include line goes into the http block, wherever it is, and only once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.servers.nginx import INCLUDE, include_state, insert_include

DEBIAN = """user www-data;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 768; }
http {
\tsendfile on;
\t# a brace in a comment {
\tlog_format main '$remote_addr "{$request}" }';
\tinclude /etc/nginx/conf.d/*.conf;
\tserver { listen 127.0.0.1:81; location / { return 200 "}"; } }
}
#mail {
#}
"""


def test_the_line_is_last_in_the_http_block() -> None:
    wanted = DEBIAN.replace("} }\n}\n#mail", f"}} }}\n\t{INCLUDE}\n}}\n#mail")
    assert insert_include(DEBIAN) == wanted
    assert wanted.count(INCLUDE) == 1


def test_inserting_twice_is_inserting_once() -> None:
    once = insert_include(DEBIAN)
    assert once is not None
    assert (include_state(DEBIAN), include_state(once)) == ("absent", "present")
    assert insert_include(once) == once


def test_a_block_on_one_line_stays_valid() -> None:
    assert insert_include("http { sendfile on; }") == f"http {{ sendfile on;\n\t{INCLUDE}\n}}"


def test_a_commented_line_is_not_the_line() -> None:
    text = f"http {{\n# {INCLUDE}\n}}\n"
    assert include_state(text) == "absent"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "events {}\n",
        "include /etc/nginx/http.conf;\n",
        "# http { }\n",
        "http {\n",
        "} http { }\n",
        "http { }\nhttp { }\n",
        "stream { http { } }\n",
        'log "http" {\n}\n',
    ],
)
def test_without_one_http_block_nothing_is_inserted(text: str) -> None:
    assert include_state(text) == "no http block"
    assert insert_include(text) is None


@given(st.text(alphabet="ht{}p;#'\"\\ \n$", max_size=60))
def test_any_text_is_left_alone_or_gets_exactly_one_line(text: str) -> None:
    done = insert_include(text)
    assert (done is None) == (include_state(text) == "no http block")
    if done is not None:
        assert include_state(done) == "present"
        assert insert_include(done) == done
        assert "".join(done.replace(INCLUDE, "").split()) == "".join(text.split())
