"""Reports on TLS: the JSON of RFC 8460, the record that asks for it, and the mail around it."""

import email
import gzip
import json
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.tls_report import (
    MOST_DETAILS,
    MOST_PLACES,
    Failures,
    PolicyReport,
    TlsReport,
    compose_mail,
    mail_address,
    report_places,
)

_STRINGS = ("version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400")
_DAY = 16892  # 2016-04-01
_REPORT = TlsReport(
    domain="company-y.example",
    day=_DAY,
    submitter="mail.company-x.example",
    organization="Company-X",
    contact="sts-reporting@company-x.example",
    policies=(
        PolicyReport(
            "sts",
            "company-y.example",
            _STRINGS,
            5326,
            (
                Failures(
                    "certificate-expired",
                    100,
                    "2001:db8:abcd:12::1",
                    "mx1.mail.company-y.example",
                    "192.0.2.1",
                ),
                Failures("sts-policy-fetch-error", 3, code="answered 404"),
            ),
        ),
        PolicyReport("no-policy-found", "company-y.example", (), 7, ()),
    ),
)


def test_the_json_is_as_the_rfc_shows_it() -> None:
    assert json.loads(_REPORT.as_json()) == {
        "organization-name": "Company-X",
        "date-range": {
            "start-datetime": "2016-04-01T00:00:00Z",
            "end-datetime": "2016-04-01T23:59:59Z",
        },
        "contact-info": "sts-reporting@company-x.example",
        "report-id": "20160401.company-y.example@mail.company-x.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": list(_STRINGS),
                    "policy-domain": "company-y.example",
                    "mx-host": ["*.mail.company-y.example"],
                },
                "summary": {
                    "total-successful-session-count": 5326,
                    "total-failure-session-count": 103,
                },
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "2001:db8:abcd:12::1",
                        "receiving-mx-hostname": "mx1.mail.company-y.example",
                        "receiving-ip": "192.0.2.1",
                        "failed-session-count": 100,
                    },
                    {
                        "result-type": "sts-policy-fetch-error",
                        "failed-session-count": 3,
                        "failure-reason-code": "answered 404",
                    },
                ],
            },
            {
                "policy": {
                    "policy-type": "no-policy-found",
                    "policy-domain": "company-y.example",
                },
                "summary": {
                    "total-successful-session-count": 7,
                    "total-failure-session-count": 0,
                },
            },
        ],
    }


def test_the_mail_is_a_multipart_report_with_the_json_compressed() -> None:
    header, body = compose_mail(_REPORT, "tls@company-x.example", "rua@company-y.example", 1)
    message = email.message_from_bytes(header + b"\r\n" + body, policy=SMTP)
    assert not message.defects
    assert message["TLS-Report-Domain"] == "company-y.example"
    assert message["TLS-Report-Submitter"] == "mail.company-x.example"
    assert message["TLS-Required"] == "No"
    assert message["Subject"] == (
        "Report Domain: company-y.example Submitter: mail.company-x.example"
        " Report-ID: <20160401.company-y.example@mail.company-x.example>"
    )
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    text, attached = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert "5333 sessions went well, 103 did not" in text.get_content()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == (
        "mail.company-x.example!company-y.example!1459468800!1459555199.json.gz"
    )
    assert gzip.decompress(attached.get_payload(decode=True)) == _REPORT.as_json()
    assert all(len(line) <= 998 for line in (header + body).split(b"\r\n"))
    assert b"\n" not in (header + body).replace(b"\r\n", b"")


def test_a_report_has_a_bounded_number_of_details_and_the_whole_sum() -> None:
    many = tuple(Failures("validation-failure", n + 1, host=f"mx{n}.test") for n in range(1500))
    policies = (PolicyReport("sts", "a.test", (), 0, many),)
    report = TlsReport("a.test", 1, "b.test", "B", "c@b.test", policies)
    (policy,) = json.loads(report.as_json())["policies"]
    assert len(policy["failure-details"]) == MOST_DETAILS
    assert policy["failure-details"][0]["failed-session-count"] == 1500
    assert policy["summary"]["total-failure-session-count"] == sum(range(1501))


@pytest.mark.parametrize(
    ("texts", "places"),
    [
        (["v=TLSRPTv1; rua=mailto:a@b.test"], ("mailto:a@b.test",)),
        (
            ["v=TLSRPTv1;rua=https://r.test/1, mailto:a@b.test;"],
            ("https://r.test/1", "mailto:a@b.test"),
        ),
        (["v=TLSRPTv1; ext=1; rua=mailto:a@b.test", "v=spf1 -all"], ("mailto:a@b.test",)),
        (["v=TLSRPTv1; rua=http://r.test/"], ()),
        (["v=TLSRPTv1; rua=mailto:nobody"], ()),
        (["v=TLSRPTv1; rua=mailto:a@b.test>, <c@d.test"], ()),
        (["v=TLSRPTv1"], ()),
        (["v=TLSRPTv10; rua=mailto:a@b.test"], ()),
        (["v=TLSRPTv1; rua=mailto:a@b.test", "v=TLSRPTv1; rua=mailto:a@b.test"], ()),
        ([], ()),
    ],
)
def test_a_record_says_where_reports_go(texts: list[str], places: tuple[str, ...]) -> None:
    assert report_places(texts) == places


def test_the_places_are_bounded() -> None:
    uris = ",".join(f"mailto:a{n}@b.test" for n in range(50))
    assert len(report_places([f"v=TLSRPTv1; rua={uris}"])) == MOST_PLACES


@given(st.text(max_size=80))
def test_no_record_makes_an_address_that_is_none(text: str) -> None:
    for place in report_places([f"v=TLSRPTv1; rua={text}"]):
        address = mail_address(place)
        assert place.lower().startswith("https://") or ("@" in address and "\r" not in address)


def test_an_address_in_a_uri_may_be_escaped_and_have_a_subject() -> None:
    assert mail_address("mailto:a%2Bb@c.test?subject=x") == "a+b@c.test"
    assert mail_address("https://r.test/") == ""
