#!/usr/bin/env python3
"""Proves that an import brought a file into PostgreSQL exactly.

In: the imported file, the database, the rejects and their reasons. Out: a summary, and exit code 1
when anything differs. Nothing of the project is used: the file is read by Python's csv and json,
the rules are written again after the contract, and the table is read as it is.

Every record is accounted for. It is either merged into the contact that has its email, or it is
among the rejects, with its own bytes and one reason that fits what is wrong with it. What is found
is told by line and column, never by the contact's data.
"""

import argparse
import csv
import datetime
import json
import os
import re
import resource
import sys
import unicodedata

import psycopg

MARK = b"\xef\xbb\xbf"
STANDARD = ("email", "phone", "external_id", "first_name", "last_name", "name")
EMAIL_BYTES, LOCAL_BYTES, LABEL_BYTES = 254, 64, 63
EXTERNAL_ID_BYTES, TEXT_BYTES = 255, 1024

csv.field_size_limit(1 << 24)


class Fault(Exception):
    """What is wrong with a value: the word that the contract has for it."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class _Clear:
    def __repr__(self):
        return "CLEAR"


# A value that removes the stored one. None leaves it.
CLEAR = _Clear()

# ---------------------------------------------------------------------------- the rules

# The Unicode property White_Space; str.strip() takes a few control characters more.
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009" \
    "\u200a\u2028\u2029\u202f\u205f\u3000"
_BEYOND = "\u00a1-\U0010ffff"
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~\-" + _BEYOND + "]+"
_EDGE = f"[a-z0-9{_BEYOND}]"
_LABEL = rf"{_EDGE}(?:[a-z0-9\-{_BEYOND}]*{_EDGE})?"
_EMAIL = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})+)")


def email(text):
    value = unicodedata.normalize("NFC", text.strip(SPACES)).lower()
    match = _EMAIL.fullmatch(value)
    if not match or any(space in value for space in SPACES if ord(space) > 127):
        raise Fault("EMAIL_INVALID")
    local, domain = match.groups()
    labels = domain.split(".")
    if len(value.encode()) > EMAIL_BYTES or len(local.encode()) > LOCAL_BYTES:
        raise Fault("EMAIL_INVALID")
    if any(label.isascii() and len(label) > LABEL_BYTES for label in labels):
        raise Fault("EMAIL_INVALID")
    if labels[-1].isascii() and labels[-1].isdigit():
        raise Fault("EMAIL_INVALID")
    return value


def phone(text):
    plain = []
    for character in text:
        if character.isdecimal():
            plain.append(str(unicodedata.decimal(character)))
        elif character in "+\uff0b":
            plain.append("+")
        elif character in "-./()" or character in SPACES:
            continue
        elif unicodedata.category(character) in ("Pd", "Cf"):
            continue
        else:
            raise Fault("PHONE_INVALID")
    match = re.fullmatch(r"(?:\+|00)?([1-9][0-9]{7,14})", "".join(plain))
    if not match:
        raise Fault("PHONE_INVALID")
    return "+" + match[1]


def _text(limit):
    def rule(text):
        if len(text) * 4 > limit and len(text.encode()) > limit:
            raise Fault("VALUE_TOO_LONG")
        return text

    return rule


def string(text):
    return text


def integer(text):
    text = text.strip(" \t")
    if not re.fullmatch(r"[+-]?[0-9]+", text) or not -(2**63) <= int(text) < 2**63:
        raise Fault("FIELD_INVALID")
    return int(text)


def number(text):
    text = text.strip(" \t")
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise Fault("FIELD_INVALID")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Fault("FIELD_INVALID")
    return value + 0.0  # -0.0 is 0


def boolean(text):
    word = text.strip(" \t").lower()
    if word in ("true", "yes", "1", "t", "y"):
        return True
    if word in ("false", "no", "0", "f", "n"):
        return False
    raise Fault("FIELD_INVALID")


def timestamp(text):
    try:
        time = datetime.datetime.fromisoformat(text.strip(" \t"))
    except ValueError:
        raise Fault("FIELD_INVALID") from None
    if time.tzinfo is not None:
        time = time.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return time.isoformat(timespec="microseconds") + "Z"


RULES = {
    "email": email, "phone": phone, "external_id": _text(EXTERNAL_ID_BYTES),
    "first_name": _text(TEXT_BYTES), "last_name": _text(TEXT_BYTES), "name": _text(TEXT_BYTES),
}
TYPES = {"string": string, "integer": integer, "number": number, "boolean": boolean,
         "timestamp": timestamp}

# ---------------------------------------------------------------------------- the files


class _Lines:
    """The lines of a file as text, with the bytes of those that were taken since last asked."""

    def __init__(self, stream):
        self.stream = stream
        self.number = 0
        self.taken = []
        self.is_text = True

    def __iter__(self):
        return self

    def __next__(self):
        line = self.stream.readline()
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        if self.number == 1:
            line = line.removeprefix(MARK)
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.is_text = False
            return line.decode(errors="surrogateescape")

    def take(self):
        lines, self.taken = self.taken, []
        is_text, self.is_text = self.is_text, True
        return b"".join(lines), is_text


def csv_records(stream):
    """Line, bytes, whether they are UTF-8, and cells of each record; the header is the first."""
    lines = _Lines(stream)
    begin = 1
    for row in csv.reader(lines, strict=True):
        raw, is_text = lines.take()
        if row:
            yield begin, raw, is_text, row
        begin = lines.number + 1


def json_records(stream):
    for line, raw in enumerate(stream, 1):
        if raw.removeprefix(MARK if line == 1 else b"").strip(b" \t\r\n"):
            yield line, raw


class CSVFile:
    """A CSV file: what each of its records says, or what is wrong with it."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as stream:
            _, self.header, _, names = next(csv_records(stream))
        self.columns = []
        for name in names:
            base, colon, kind = name.rpartition(":")
            if name in STANDARD:
                self.columns.append((name, name, RULES[name]))
            elif colon and kind in TYPES:
                self.columns.append((name, base, TYPES[kind]))
            else:
                self.columns.append((name, name, string))

    def records(self):
        """Line, bytes, values by field name, faults as pairs of a reason and a column."""
        with open(self.path, "rb") as stream:
            records = csv_records(stream)
            next(records)
            for line, raw, is_text, row in records:
                yield line, raw, *self.judge(raw, is_text, row)

    def judge(self, raw, is_text, row):
        values, faults = {}, []
        if len(row) != len(self.columns):
            faults.append(("RAGGED_ROW", ""))
        is_clean = is_text and b"\0" not in raw
        for (column, name, rule), cell in zip(self.columns, row):
            if not is_clean and any("\udc80" <= c <= "\udcff" for c in cell):
                faults.append(("INVALID_UTF8", column))
                continue
            if not is_clean and "\0" in cell:
                # Whether a NUL breaks the cell or the whole record is the reader's choice.
                faults.append(("INVALID_UTF8", None))
                continue
            if not cell.strip(" \t"):
                continue
            try:
                values[name] = rule(cell)
            except Fault as fault:
                faults.append((fault.reason, column))
        if "email" not in values and not any(column == "email" for _, column in faults):
            faults.append(("KEY_MISSING", "email"))
        return values, faults

    def reject_records(self, path):
        """The header's bytes and the records' bytes of a file of rejects."""
        with open(path, "rb") as stream:
            raws = [raw for _, raw, _, _ in csv_records(stream)]
        return (raws[0], raws[1:]) if raws else (b"", [])


class NDJSONFile:
    """A file of one JSON object a line, read as `CSVFile` reads its own."""

    header = b""

    def __init__(self, path):
        self.path = path

    def records(self):
        with open(self.path, "rb") as stream:
            for line, raw in json_records(stream):
                yield line, raw, *self.judge(raw.removeprefix(MARK if line == 1 else b""))

    def judge(self, raw):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return {}, [("INVALID_UTF8", None)]
        try:
            members = json.loads(text)
        except ValueError:
            return {}, [("JSON_INVALID", "")]
        if not isinstance(members, dict):
            return {}, [("JSON_INVALID", "")]
        values, faults = {}, []
        for key, value in members.items():
            try:
                if key in RULES:
                    if value is not None:
                        values[key] = self.standard(key, value)
                elif key == "fields":
                    for name, content in value.items():
                        values[name] = self.custom(content)
                elif key == "list_ids":
                    if not all(type(element) is int for element in value):
                        raise Fault("FIELD_INVALID")
                elif key != "id":
                    raise Fault("KEY_UNKNOWN")
            except Fault as fault:
                faults.append((fault.reason, key))
        if values.get("email") in (None, CLEAR):
            if not any(column == "email" for _, column in faults):
                faults.append(("KEY_MISSING", "email"))
        return values, faults

    @staticmethod
    def standard(key, value):
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            raise Fault("FIELD_INVALID")
        if "\0" in value:
            raise Fault("INVALID_UTF8")
        return RULES[key](value) if value else CLEAR

    @staticmethod
    def custom(value):
        if value is None:
            return CLEAR
        if isinstance(value, dict):
            if list(value) != ["timestamp"] or not isinstance(value["timestamp"], str):
                raise Fault("FIELD_INVALID")
            return timestamp(value["timestamp"])
        if isinstance(value, list):
            raise Fault("FIELD_INVALID")
        if isinstance(value, str) and "\0" in value:
            raise Fault("INVALID_UTF8")
        return value

    def reject_records(self, path):
        with open(path, "rb") as stream:
            return b"", [raw for _, raw in json_records(stream)]


def open_file(path, format=None):
    if format is None:
        format = "ndjson" if str(path).endswith(".ndjson") else "csv"
    return NDJSONFile(path) if format == "ndjson" else CSVFile(path)


# ---------------------------------------------------------------------------- what should be


class Expectation:
    """The contacts that should be there, as the records are applied one at a time.

    A contact is a tuple: the line that set it last, then its values in the order in which their
    names were first seen. 1,000,000 contacts of twelve columns take about 600 MB.
    """

    def __init__(self):
        self.contacts = {}
        self.names = list(STANDARD)
        self._places = {name: place for place, name in enumerate(self.names, 1)}
        self._seen = {}

    def apply(self, line, values):
        """Merges a record; what its status should be."""
        key = values["email"]
        stored = self.contacts.get(key)
        merged = [line] + [None] * len(self.names) if stored is None else list(stored)
        merged[0] = line
        changes = stored is None
        for name, value in values.items():
            if name == "email":
                continue
            place = self._places.get(name)
            if place is None:
                self.names.append(name)
                place = self._places[name] = len(self.names)
            while len(merged) <= place:
                merged.append(None)
            value = None if value is CLEAR else self._shared(value)
            old = merged[place]
            if type(old) is not type(value) or old != value:
                changes = True
                merged[place] = value
        self.contacts[key] = tuple(merged)
        return "created" if stored is None else "updated" if changes else "unchanged"

    def _shared(self, value):
        """The same text once: names, plans and notes come again and again."""
        if type(value) is not str:
            return value
        shared = self._seen.get(value)
        if shared is None:
            if len(self._seen) < 4096:
                self._seen[value] = value
            return value
        return shared


class Report:
    """The counts and the first few differences."""

    SHOWN = 10

    def __init__(self):
        self.records = 0
        self.stored = 0
        self.rows = 0
        self.counts = {"created": 0, "updated": 0, "unchanged": 0}
        self.rejected = {}
        self.mismatches = 0
        self.shown = []

    def differs(self, text):
        self.mismatches += 1
        if len(self.shown) < self.SHOWN:
            self.shown.append(text)

    def text(self):
        lines = [
            f"records     {self.records}", f"stored      {self.stored}",
            "  " + ", ".join(f"{count} {word}" for word, count in self.counts.items()),
            f"contacts    {self.rows}", f"rejected    {sum(self.rejected.values())}",
        ]
        lines += [f"  {reason:<16} {count}" for reason, count in sorted(self.rejected.items())]
        lines.append(f"mismatches  {self.mismatches}")
        lines += ["  " + text for text in self.shown]
        if self.mismatches > len(self.shown):
            lines.append(f"  and {self.mismatches - len(self.shown)} more")
        return "\n".join(lines)


# ---------------------------------------------------------------------------- what is


def read_reasons(path, report):
    """The reasons in their order."""
    if path is None or not os.path.exists(path):
        return []
    reasons = []
    with open(path, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            reason = json.loads(line)
            if set(reason) != {"line", "sequence", "field", "reason", "message"}:
                report.differs(f"reason {number}: its keys are {sorted(reason)}")
            if not reason.get("message"):
                report.differs(f"reason {number}: it has no message")
            reasons.append(reason)
    return reasons


def check_reason(line, reason, faults, report):
    fits = [column for word, column in faults if word == reason["reason"]]
    if not faults:
        report.differs(f"line {line}: refused as {reason['reason']}, but nothing is wrong with it")
    elif not fits:
        words = sorted({word for word, _ in faults})
        report.differs(f"line {line}: refused as {reason['reason']}, but it is {', '.join(words)}")
    elif None not in fits:
        names = {name for column in fits for name in (column, column.split(":")[0])}
        if reason["field"] not in names:
            report.differs(
                f"line {line}: {reason['reason']} names the field \"{reason['field']}\" "
                f"instead of {' or '.join(sorted(fits))}")


def check_rejects(file, path, reasons, raws, in_order, report):
    """The refused records' bytes, in the order of the reasons, below the header."""
    if path is None or not os.path.exists(path):
        if reasons:
            report.differs("there are reasons and no file of rejects")
        return
    header, records = file.reject_records(path)
    if header.rstrip(b"\r\n") != file.header.rstrip(b"\r\n"):
        report.differs("the rejects do not begin with the file's header")
    if len(records) != len(reasons):
        report.differs(f"{len(records)} rejected records and {len(reasons)} reasons")
    for number, (record, reason) in enumerate(zip(records, reasons), 1):
        raw = raws.get(reason["line"])
        if raw is None:
            report.differs(f"reject {number}: no record begins on line {reason['line']}")
        elif record != raw and record != raw + b"\n":
            report.differs(f"reject {number}: not the bytes of line {reason['line']}")
    if not in_order:
        return
    lines = [reason["line"] for reason in reasons]
    if lines != sorted(lines):
        report.differs("the rejects are not in the file's order")
    sequences = [reason["sequence"] for reason in reasons if reason["sequence"] is not None]
    if sequences != sorted(set(sequences)):
        report.differs("the rejects' sequence numbers do not grow")


def read_file(file, rejects, reasons_path, expectation, report, in_order=True):
    """Applies each record that is to be stored, and settles each that is refused."""
    reasons = read_reasons(reasons_path, report)
    by_line = {}
    for reason in reasons:
        if by_line.setdefault(reason["line"], reason) is not reason:
            report.differs(f"line {reason['line']}: refused more than once")
    raws = {}
    for line, raw, values, faults in file.records():
        report.records += 1
        reason = by_line.get(line)
        if reason is not None:
            raws[line] = raw
            report.rejected[reason["reason"]] = report.rejected.get(reason["reason"], 0) + 1
            check_reason(line, reason, faults, report)
        elif faults:
            words = ", ".join(f"{word} in {column}" for word, column in faults)
            report.differs(f"line {line}: not refused, but it is {words}")
        else:
            report.stored += 1
            report.counts[expectation.apply(line, values)] += 1
    check_rejects(file, rejects, reasons, raws, in_order, report)


def same(expected, found):
    """Whether a custom field's JSON is the value: kinds count, and 5 may stand for 5.0."""
    if type(expected) is float:
        return type(found) in (int, float) and float(found) == expected
    return type(expected) is type(found) and expected == found


def compare(expectation, conninfo, workspace, report):
    """Row by row, both ways. Consumes the expectation."""
    contacts, names = expectation.contacts, expectation.names
    columns = STANDARD[1:]
    custom = list(enumerate(names, 1))[len(STANDARD):]
    query = (
        f"SELECT c.id::text, c.email, {', '.join('c.' + name for name in columns)}, "
        "c.fields::text FROM contacts c JOIN workspaces w ON w.id = c.workspace_id "
        "WHERE w.name = %s")
    with psycopg.connect(conninfo) as connection, connection.cursor(name="verify") as cursor:
        cursor.itersize = 10_000
        cursor.execute(query, (workspace,))
        for identity, key, *texts, fields in cursor:
            report.rows += 1
            contact = contacts.pop(key, None)
            if contact is None:
                report.differs(f"row {identity}: no record accounts for it")
                continue
            for place, (name, text) in enumerate(zip(columns, texts), 2):
                if contact[place] != text:
                    report.differs(f"line {contact[0]}: {name} differs")
            found = json.loads(fields)
            for place, name in custom:
                value = contact[place] if place < len(contact) else None
                if value is None:
                    continue
                if name not in found:
                    report.differs(f"line {contact[0]}: the field {name} is missing")
                elif not same(value, found.pop(name)):
                    report.differs(f"line {contact[0]}: the field {name} differs")
            if found:
                report.differs(f"line {contact[0]}: more fields: {', '.join(sorted(found))}")
    for contact in contacts.values():
        report.differs(f"line {contact[0]}: its contact is missing")


def check_summary(summary, report):
    """The counts that `contacts import --json` gave."""
    expected = {
        "read": report.records, **report.counts, "replayed": 0, "undecided": 0,
        "failed": sum(report.rejected.values()), "failed_by_reason": report.rejected,
    }
    for name, value in expected.items():
        if summary.get(name) != value:
            report.differs(f"the summary's {name} is {summary.get(name)} instead of {value}")


def verify(path, conninfo, rejects=None, reasons=None, format=None, workspace="default",
           summary=None, earlier=(), in_order=True):
    """The report on an import of the file at `path`.

    `earlier` are the files that were imported before into the same workspace, as pairs of a path
    and its reasons. `in_order`: one stream imported it, and the rejects stand as in the file.
    """
    report = Report()
    expectation = Expectation()
    for other, other_reasons in earlier:
        read_file(open_file(other, format), None, other_reasons, expectation, Report())
    if rejects is not None and reasons is None:
        reasons = f"{rejects}.reasons.ndjson"
    read_file(open_file(path, format), rejects, reasons, expectation, report, in_order)
    if summary is not None:
        check_summary(summary, report)
    compare(expectation, conninfo, workspace, report)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--conninfo", required=True)
    parser.add_argument("--rejects", help="the refused records; without it none may be refused")
    parser.add_argument("--reasons", help="else beside the rejects")
    parser.add_argument("--format", choices=("csv", "ndjson"), help="else by the file's name")
    parser.add_argument("--workspace", default="default")
    parser.add_argument("--summary", help="what `contacts import --json` printed")
    parser.add_argument("--again", action="store_true", help="the file was imported once before")
    options = parser.parse_args()
    summary = None
    if options.summary:
        with open(options.summary, encoding="utf-8") as stream:
            summary = json.load(stream)
    reasons = options.reasons or (options.rejects and f"{options.rejects}.reasons.ndjson")
    report = verify(
        options.file, options.conninfo, options.rejects, reasons, options.format,
        options.workspace, summary, [(options.file, reasons)] if options.again else ())
    print(report.text())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory {peak} MiB")
    sys.exit(1 if report.mismatches else 0)


if __name__ == "__main__":
    main()
