"""Replies that providers really give to those they hold back, with the shipped rule that each meets
and what the rule has the relay do."""

import re

from relay.feedback.outcome import Phase
from relay.mail.enhanced import split_reply
from relay.mail.replies import Reply


def said(text: str) -> Reply:
    """A reply as a peer wrote it, each line with its code."""
    lines = [re.sub(r"^\d{3}[ -]", "", line) for line in text.splitlines()]
    return split_reply(int(text[:3]), "\n".join(lines))


REAL: list[tuple[str, Phase, str, str]] = [
    # Google
    (
        "421-4.7.28 [192.0.2.1      15] Our system has detected an unusual rate of\n"
        "421-4.7.28 unsolicited mail originating from your IP address. To protect our\n"
        "421-4.7.28 users from spam, mail sent from your IP address has been temporarily\n"
        "421-4.7.28 rate limited. Please visit\n"
        "421 4.7.28 https://support.google.com/mail/?p=UnsolicitedRateLimitError - gsmtp",
        "final", "google-rate", "slow_down",
    ),
    (
        "421-4.7.0 [192.0.2.1      15] Our system has detected that this message is\n"
        "421-4.7.0 suspicious due to the very low reputation of the sending IP address.\n"
        "421 4.7.0 To best protect our users from spam, the message has been blocked.",
        "final", "google-rate", "slow_down",
    ),
    (
        "452-4.2.2 The recipient's inbox is out of storage space. Please direct the\n"
        "452-4.2.2 recipient to\n"
        "452 4.2.2  https://support.google.com/mail/?p=OverQuotaTemp - gsmtp",
        "rcpt", "mailbox-full", "retry_later",
    ),
    (
        "450-4.2.1 The user you are trying to contact is receiving mail too quickly.\n"
        "450-4.2.1 Please resend your message at a later time. If the user is able to\n"
        "450 4.2.1 receive mail at that time, your message will be delivered.",
        "rcpt", "mailbox-too-busy", "retry_later",
    ),
    (
        "421-4.7.26 Your email has been rate limited because it is unauthenticated. Gmail\n"
        "421 4.7.26 requires all senders to authenticate with either SPF or DKIM.",
        "final", "google-unauthenticated", "retry_later",
    ),
    (
        "550-5.7.1 [192.0.2.1      12] Our system has detected that this message is\n"
        "550-5.7.1 likely unsolicited mail. To reduce the amount of spam sent to Gmail,\n"
        "550 5.7.1 this message has been blocked. - gsmtp",
        "final", "google-unsolicited", "slow_down",
    ),
    # Microsoft
    (
        "421 RP-001 (BAY004-MC1F12) Unfortunately, some messages from 192.0.2.1 weren't sent."
        " The mail server IP connecting to Outlook.com server has exceeded the rate limit allowed.",
        "mail", "microsoft-rate", "slow_down",
    ),
    (
        "421 RP-003 The mail server IP connecting to Outlook.com server has exceeded the connection"
        " limit allowed. Reason for this connection limit is related to IP/domain reputation.",
        "greeting", "microsoft-connections", "fewer_connections",
    ),
    (
        "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S775)"
        " [DB5EUR01FT035.eop-EUR01.prod.protection.outlook.com]",
        "mail", "microsoft-rate", "slow_down",
    ),
    (
        "451 4.7.650 The mail server [192.0.2.5] has been temporarily rate limited due to IP"
        " reputation. For e-mail delivery information, see https://postmaster.live.com (S775)",
        "mail", "microsoft-rate", "slow_down",
    ),
    (
        "451 4.7.652 The mail server [192.0.2.1] has exceeded the maximum number of connections."
        " (S3115) [VE1EUR02FT003.eop-EUR02.prod.protection.outlook.com]",
        "mail", "microsoft-connections", "fewer_connections",
    ),
    (
        "421 4.3.2 The maximum number of concurrent connections per resource forest has exceeded a"
        " limit, closing transmission channel. PRX8",
        "greeting", "microsoft-connections", "fewer_connections",
    ),
    (
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your"
        " Internet service provider since part of their network is on our block list (S3140). You"
        " can also refer your provider to http://mail.live.com/mail/troubleshooting.aspx#errors.",
        "mail", "microsoft-blocked", "other_source",
    ),
    (
        "550 SC-001 (BAY004-MC4F49) Unfortunately, messages from 192.0.2.1 weren't sent.",
        "mail", "microsoft-blocked", "other_source",
    ),
    (
        "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this"
        " list please visit https://sender.office.com/ (AS16012609)",
        "rcpt", "microsoft-blocked", "other_source",
    ),
    # Yahoo
    (
        "421 4.7.0 [TSS04] Messages from 192.0.2.25 temporarily deferred due to unexpected volume"
        " or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
        "mail", "yahoo-deferred", "slow_down",
    ),
    (
        "421 4.16.55 [TS01] Messages from 192.0.2.25 temporarily deferred due to excessive user"
        " complaints",
        "greeting", "yahoo-deferred", "slow_down",
    ),
    (
        "421 4.16.55 [TSS09] All messages from 192.0.2.25 will be permanently deferred; Retrying"
        " will NOT succeed. See http://postmaster.yahoo.com/421-ts03.html",
        "greeting", "yahoo-permanently-deferred", "other_source",
    ),
    (
        "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.25, because the ip is in"
        " Spamhaus's list; see http://postmaster.yahoo.com/550-bl23.html",
        "greeting", "yahoo-blocked", "other_source",
    ),
    (
        "553 5.7.2 [TSS11] All messages from 192.0.2.25 will be permanently deferred; Retrying will"
        " NOT succeed. See https://postmaster.yahooinc.com/error-codes",
        "greeting", "yahoo-permanently-deferred", "other_source",
    ),
    ("451 4.7.1 [GL01] Message from (192.0.2.25) greylisted", "mail", "greylisting", "retry_later"),
    # Apple
    (
        "421 4.7.1 Messages to user@icloud.com deferred due to excessive volume. Try again later -"
        " https://support.apple.com/en-us/HT204137",
        "rcpt", "mailbox-too-busy", "retry_later",
    ),
    ("451 4.7.1 Service unavailable - try again later", "mail", "apple-unavailable", "slow_down"),
    (
        "554 5.7.1 [CS01] Message rejected due to local policy. Please visit"
        " https://support.apple.com/en-us/HT204137",
        "final", "apple-local-policy", "slow_down",
    ),
    (
        "550 5.7.1 Mail from IP 192.0.2.1 was rejected due to listing in Spamhaus PBL. For details"
        " please see http://www.spamhaus.org/query/bl?ip=192.0.2.1",
        "rcpt", "blocklisted", "other_source",
    ),
    # Comcast
    (
        "452 4.1.0 192.0.2.1 Throttled - try again later. Please see"
        " http://postmaster.comcast.net/smtp-error-codes.php#RL000001",
        "mail", "comcast-throttled", "slow_down",
    ),
    (
        "421 resimta-po-14v.sys.comcast.net comcast 192.0.2.1 Too many sessions opened. Please see"
        " http://postmaster.comcast.net/smtp-error-codes.php#RL000003",
        "greeting", "comcast-sessions", "fewer_connections",
    ),
    (
        "554 resimta-po-14v.sys.comcast.net comcast 192.0.2.1 Comcast block for spam. Please see"
        " http://postmaster.comcast.net/smtp-error-codes.php#BL000000",
        "greeting", "comcast-blocked", "other_source",
    ),
    # GMX, Web.de
    (
        "554-gmx.net (mxgmx104) Nemesis ESMTP Service not available\n554-No SMTP service\n"
        "554-IP address is block listed.\n"
        "554 For explanation visit https://postmaster.gmx.net/en/case?c=r0201&i=ip&v=198.51.100.42",
        "greeting", "gmx-blocked", "other_source",
    ),
    (
        "554-web.de (mxweb005) Nemesis ESMTP Service not available\n554-No SMTP service\n"
        "554 invalid DNS PTR resource record, IP=192.0.2.1",
        "greeting", "gmx-blocked", "other_source",
    ),
    (
        "554-gmx.net (mxgmx016) Nemesis ESMTP Service not available\n554-No SMTP service\n"
        "554 Reject due to policy restrictions.",
        "greeting", "gmx-policy", "pause",
    ),
    ("421 Rate limit reached. Please try again later", "mail", "gmx-rate", "slow_down"),
    # T-Online
    (
        "554 IP=192.0.2.254 - A problem occurred. (Ask your postmaster for help or to contact"
        " tosa@rx.t-online.de to clarify.) (BL)",
        "greeting", "t-online-blocked", "other_source",
    ),
    # Orange, La Poste, Free
    (
        "421 mwinf5c04 ME Trop de connexions, veuillez verifier votre configuration. Too many"
        " connections, slow down. OFR004_104 [104]",
        "greeting", "orange-connections", "fewer_connections",
    ),
    (
        "421 mwinf5c77 ME Service refuse. Veuillez essayer plus tard. Service refused, please try"
        " later. OFR_999 [999]",
        "greeting", "orange-refused", "pause",
    ),
    (
        "421 4.2.0 Service refuse. Veuillez essayer plus tard. Service refused, please try later."
        " OFR005_505 [505]",
        "mail", "orange-refused", "pause",
    ),
    ("550 5.5.0 Client [192.0.2.1] blocked. LPN007_426", "mail", "orange-blocked", "other_source"),
    (
        "421 Too many spams from your IP (192.0.2.1), please visit http://postmaster.free.fr/",
        "greeting", "free-blocked", "other_source",
    ),
    (
        "421 too many errors detected from your IP (192.0.2.1), please visit"
        " http://postmaster.free.fr/",
        "greeting", "free-blocked", "other_source",
    ),
    # Mail.ru, Yandex, QQ, NetEase
    (
        "550 Access from ip address 192.0.2.1 blocked. Visit"
        " http://win.mail.ru/cgi-bin/support_bl?ip=192.0.2.1",
        "greeting", "mail-ru-blocked", "other_source",
    ),
    (
        "451 4.5.1 The recipient <user@yandex.ru> has exceeded their message rate limit."
        " Try again later.",
        "rcpt", "mailbox-too-busy", "retry_later",
    ),
    (
        "451 4.7.1 Sorry, the service is currently unavailable. Please come back later.",
        "mail", "yandex-come-back-later", "retry_later",
    ),
    (
        "550 Ip frequency limited. http://service.mail.qq.com/cgi-bin/help?subtype=1&id=20022",
        "final", "frequency-limited", "slow_down",
    ),
    ("421 HL:ICC 163 smtp9,DcCowAB", "greeting", "netease-connections", "fewer_connections"),
    # Blocklists and filters
    (
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org;"
        " https://www.spamhaus.org/query/ip/192.0.2.1",
        "rcpt", "blocklisted", "other_source",
    ),
    (
        "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus. To request"
        " removal from this list see https://www.spamhaus.org/query/ip/192.0.2.1 (AS16012611)",
        "rcpt", "blocklisted", "other_source",
    ),
    (
        "554 mx.example.net blocked using b.barracudacentral.org;"
        " http://www.barracudanetworks.com/reputation/?pr=1&ip=192.0.2.1",
        "greeting", "blocklisted", "other_source",
    ),
    (
        "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1",
        "greeting", "blocklisted", "other_source",
    ),
    (
        "554 Your access to this mail system has been rejected due to the sending MTA's poor"
        " reputation. If you believe that this failure is in error, please contact the recipient",
        "greeting", "cisco-poor-reputation", "other_source",
    ),
    (
        "451 IP temporarily blacklisted - https://community.mimecast.com/docs/DOC-1369#451",
        "rcpt", "mimecast-blocked", "other_source",
    ),
    (
        "451 Internal resources are temporarily unavailable -"
        " https://community.mimecast.com/docs/DOC-1369#451",
        "rcpt", "mimecast-greylisting", "retry_later",
    ),
    # Servers of any kind
    ("421 mx.example.org: Too much load; please try again later.", "greeting", "peer-busy",
     "retry_later"),
    ("421 4.7.0 deferred: poor IP reputation", "mail", "poor-reputation", "slow_down"),
    ("550 5.4.6 Unusual sending activity detected. Please try after sometime", "rcpt",
     "rate-limited-for-good", "slow_down"),
    ("421 4.7.0 Try again later, closing connection. (MAIL) t5si1.2 - gsmtp", "mail",
     "google-closing", "slow_down"),
    (
        "421 4.7.23 The IP address sending this message does not have a PTR record, or the PTR"
        " record's forward DNS entry does not match the sending IP address.",
        "final", "google-no-ptr", "other_source",
    ),
    ("550 5.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP"
     " address.", "final", "google-rate", "slow_down"),
    ("554 IP:RBL 192.0.2.4 is listed in a real-time blocklist", "mail", "netease-blocked",
     "other_source"),
    ("450 4.7.1 Rate limited; client exceeded rate control, see http://www.barracudacentral.org",
     "rcpt", "rate-limited", "slow_down"),
    ("421 too many messages in this connection", "mail", "connection-used-up", "retry_later"),
    (
        "421 4.7.0 mx.example.net Error: too many connections from 192.0.2.1",
        "greeting", "too-many-connections", "fewer_connections",
    ),
    (
        "421 Too many concurrent SMTP connections from this IP address; please try again later.",
        "greeting", "too-many-connections", "fewer_connections",
    ),
    ("421 4.3.2 Too many open connections.", "greeting", "too-many-connections",
     "fewer_connections"),
    ("452 4.3.2 Connection rate limit exceeded.", "mail", "rate-limited", "slow_down"),
    ("450 4.7.1 Error: too much mail from 192.0.2.1", "mail", "rate-limited", "slow_down"),
    ("452 4.5.3 Error: too many recipients", "rcpt", "too-many-recipients", "nothing"),
    ("452 4.3.1 Insufficient system resources (UsedDiskSpace)", "mail", "peer-short-of-resources",
     "retry_later"),
    (
        "450 4.2.0 <b@example.net>: Recipient address rejected: Greylisted, see"
        " http://postgrey.schweikert.ch/help/example.net.html",
        "rcpt", "greylisting", "retry_later",
    ),
    (
        "451 4.7.1 Greylisting in action, please come back in 00:05:00",
        "rcpt", "greylisting", "retry_later",
    ),
]  # fmt: skip
