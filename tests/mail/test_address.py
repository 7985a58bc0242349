"""Addresses: what the grammar of RFC 5321 allows, and that nothing else gets through."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.address import AddressError, parse_mailbox, parse_path, suppression_key

ATOM = st.text(string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=9)
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(LABEL, min_size=1, max_size=5).map(".".join)
LOCAL_PARTS = st.one_of(
    st.lists(ATOM, min_size=1, max_size=4).map(".".join),
    st.text(string.ascii_letters + " .@<>,;:()[]!", max_size=20).map(lambda text: f'"{text}"'),
    st.text(string.printable[:95], max_size=20).map(
        lambda text: '"' + "".join("\\" + letter for letter in text) + '"'
    ),
)

GOOD_PATHS = {
    "<a@b.c>": "a@b.c",
    "<Jo.Doe@Example.COM>": "Jo.Doe@example.com",
    "<>": "",
    "<a@localhost>": "a@localhost",
    "<a+b=c{d}@e.f>": "a+b=c{d}@e.f",
    '<"a b"@c.d>': '"a b"@c.d',
    '<"a@b"@C.d>': '"a@b"@c.d',
    '<"a\\"b>"@c.d>': '"a\\"b>"@c.d',
    '<""@c.d>': '""@c.d',
    "<a@[192.0.2.1]>": "a@[192.0.2.1]",
    "<a@[ipv6:2001:DB8::1]>": "a@[IPv6:2001:db8::1]",
    "<@relay.example:a@b.c>": "a@b.c",
    "<@one.example,@two.example:a@B.c>": "a@b.c",
    "<a%b.c@d.e>": "a%b.c@d.e",  # no percent hack: it is a local part like any other
    "<a@1.2>": "a@1.2",
    "<" + "l" * 64 + "@b.c>": "l" * 64 + "@b.c",
}

BAD_PATHS = (
    *("", "a@b.c", "<a@b.c", "a@b.c>", "<<a@b.c>>", "<a@b.c>x", " <a@b.c>", "<a@b.c> "),
    *("< a@b.c>", "<a@b.c >", "<a b@c.d>", "<a@b@c.d>", "<a>", "<@b.c>", "<a@>", "<@>"),
    *("<a@b..c>", "<a@.b>", "<a@b.>", "<a..b@c.d>", "<.a@b.c>", "<a.@b.c>"),
    *("<a@-b.c>", "<a@b-.c>", "<a@b_c.d>", "<a@b.c:25>", "<a@b,c>", "<a@b/c>"),
    *("<(c)a@b.c>", "<a(c)@b.c>", "<a@b.c(c)>", "<a,b@c.d>", "<a;b@c.d>", "<a:b@c.d>"),
    *('<"a@b.c>', '<a"b@c.d>', '<"a"b@c.d>', '<"a""b"@c.d>', '<"a\\"@b.c>', "<a\\b@c.d>"),
    *("<a@[1.2.3]>", "<a@[1.2.3.4>", "<a@1.2.3.4]>", "<a@[1.2.3.256]>", "<a@[]>"),
    *("<a@[IPv6:1]>", "<a@[IPv6:::1%eth0]>", "<a@[2001:db8::1]>", "<a@[tag:text]>"),
    *("<@a.b a@b.c>", "<@:a@b.c>", "<@a.b,:a@b.c>", "<@a.b,c.d:a@b.c>"),
    "<" + "l" * 65 + "@b.c>",
    "<a@" + "d" * 64 + ".c>",
    "<a@" + ".".join(["d" * 63] * 4) + ".c>",
)
HOSTILE = ("\r", "\n", "\0", "\x1b", "\x7f", "\t", "\x85", "\u2028", "\xa0", "\u202e", "\udc80")


@pytest.mark.parametrize(("path", "address"), GOOD_PATHS.items())
def test_a_path_of_the_grammar_gives_its_address(path: str, address: str) -> None:
    assert parse_path(path) == address


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_outside_the_grammar_is_refused(path: str) -> None:
    with pytest.raises(AddressError):
        parse_path(path)


@pytest.mark.parametrize("octet", HOSTILE)
@pytest.mark.parametrize("form", ["<{}a@b.c>", "<a{}@b.c>", "<a@b{}.c>", "<a@b.c{}>", '<"{}"@b.c>'])
def test_control_characters_and_odd_spaces_are_refused_wherever_they_stand(
    octet: str, form: str
) -> None:
    for smtputf8 in (False, True):
        with pytest.raises(AddressError) as refusal:
            parse_path(form.format(octet), smtputf8=smtputf8)
        assert str(refusal.value).isascii()
        assert str(refusal.value).isprintable()


def test_an_address_outside_ascii_needs_smtputf8() -> None:
    with pytest.raises(AddressError, match="SMTPUTF8"):
        parse_path("<gr\u00fc\u00dfe@example.com>")
    assert (
        parse_path("<gr\u00fc\u00dfe@example.com>", smtputf8=True) == "gr\u00fc\u00dfe@example.com"
    )


def test_a_domain_in_u_labels_becomes_a_labels() -> None:
    assert parse_path("<a@B\u00dccher.example>", smtputf8=True) == "a@xn--bcher-kva.example"
    assert parse_mailbox("a@b\u00fccher.example") == "a@xn--bcher-kva.example"


@pytest.mark.parametrize("domain", ["b\u00fc..c", "\u00fc-.c", "\u0627a.c", "\u2603\ufffd.c"])
def test_a_domain_that_is_no_internationalised_name_is_refused(domain: str) -> None:
    with pytest.raises(AddressError):
        parse_path(f"<a@{domain}>", smtputf8=True)


def test_lengths_count_octets_and_not_characters() -> None:
    assert parse_path("<" + "\u00fc" * 32 + "@b.c>", smtputf8=True)
    with pytest.raises(AddressError, match="64 octets"):
        parse_path("<" + "\u00fc" * 33 + "@b.c>", smtputf8=True)


def test_a_whole_path_has_at_most_256_octets() -> None:
    domain = ".".join(["d" * 60] * 4)
    longest = "l" * (254 - 1 - len(domain)) + "@" + domain
    assert parse_path(f"<{longest}>") == longest
    assert parse_mailbox(longest) == longest
    for parse in (lambda: parse_path(f"<l{longest}>"), lambda: parse_mailbox("l" + longest)):
        with pytest.raises(AddressError, match="longer"):
            parse()


def test_a_megabyte_of_address_is_refused_at_once() -> None:
    for text in ("a" * 1_000_000, "@" * 1_000_000, "a." * 500_000, '"' * 1_000_000):
        with pytest.raises(AddressError):
            parse_path(f"<{text}@b.c>")


@given(LOCAL_PARTS, DOMAINS)
def test_the_local_part_is_kept_and_the_domain_lower_cased(local: str, domain: str) -> None:
    assert parse_path(f"<{local}@{domain.upper()}>") == f"{local}@{domain}"
    assert parse_mailbox(f"{local}@{domain}") == f"{local}@{domain}"


@given(st.one_of(st.text(), st.text('<>@."\\[]: a,')), st.booleans())
def test_any_text_is_either_refused_or_gives_an_address_that_parses_to_itself(
    text: str, smtputf8: bool
) -> None:
    try:
        address = parse_path(text, smtputf8=smtputf8)
    except AddressError:
        return
    assert parse_path(f"<{address}>", smtputf8=smtputf8) == address
    assert address.isprintable()
    assert address.isascii() or smtputf8


@pytest.mark.parametrize("text", ["<a@b.c>", "", "a", "a@b.c ", "a@b.c\n", "@a.b:c@d.e"])
def test_a_bare_address_stands_alone(text: str) -> None:
    with pytest.raises(AddressError):
        parse_mailbox(text)


def test_suppression_ignores_case_everywhere() -> None:
    assert suppression_key("Jo.DOE@Example.com") == "jo.doe@example.com"
    assert suppression_key("GR\u00dc@b.c") == suppression_key("gru\u0308@b.c")


@given(st.text())
def test_a_suppression_key_is_its_own_key(text: str) -> None:
    assert suppression_key(suppression_key(text)) == suppression_key(text)
