"""What is wrong with a message: rules as tables, each with its source and with an example that passes and one that
fails. Knows octets, fields and parts; never raises for what it is given, and needs nothing but the standard library,
except for DKIM and for asking DNS.

    finding     Finding, Severity, and what a Rule is
    mail        a message as the rules look at it, with its parts (parts)
    examples    right messages to make examples from
    octets      lines and octets              header      fields
    words       what is not ASCII in them     dates       when it was written
    addresses   fields with mailboxes         lists       how to leave a list
    mime        the tree of parts             encodings   transfer encodings, character sets
    files       attachments and images        html        links, images, what readers take out
    markup      HTML and CSS as the rules look at them
    features    what a document uses, and which mail clients lack it
    authentication  DKIM (signatures), SPF (spf) and DMARC (dmarc), with the records of a resolver (dns)
    dialogue    a session as the rules look at it
    sessions    how the client kept it        commands    what the client said
    check       runs them all
"""  # noqa: D205

from __future__ import annotations

from ehlo.report.check import RULES, Report, check
from ehlo.report.dialogue import Dialogue
from ehlo.report.finding import Finding, Rule, Severity
from ehlo.report.mail import Mail

__all__ = ["RULES", "Dialogue", "Finding", "Mail", "Report", "Rule", "Severity", "check"]
