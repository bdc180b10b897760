"""File names that somebody will have, each of which a shell, a listing or a protocol could stumble over."""

ODD = [
    b"new\nline",
    b"\xff\xfe",
    b"x" * 255,
    b" ",
    b"-rf",
    b"#x",
    b";x",
    b"a\\b",
    b"'\";$(x)",
    b"cr\r",
    b"a\tb",
    b"*",
]
