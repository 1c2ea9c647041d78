"""The contract as a dictionary: what one contact does to a workspace, applied one at a time.

The model knows the rules of presence, existence, lists, uniqueness, order of faults and events. Of the
rules for values it knows only what a fixed pool of values needs (see `email` and `phone`); whoever
feeds it other values gets no promise.

A contact of the model has a handle, counted from 1 in order of creation. The service's ids become
known with `bind`, when the service has answered.
"""

import dataclasses
import math
import re
import unicodedata

from stubs import pb

IDENTIFIERS = ("email", "phone", "external_id")
NAMES = ("name", "first_name", "last_name")
STANDARD = IDENTIFIERS + NAMES
MATCH = {pb.MATCH_BY_UNSPECIFIED: "email", pb.MATCH_BY_EMAIL: "email", pb.MATCH_BY_PHONE: "phone",
         pb.MATCH_BY_EXTERNAL_ID: "external_id", pb.MATCH_BY_ID: "id"}

CREATED, UPDATED = pb.UPSERT_STATUS_CREATED, pb.UPSERT_STATUS_UPDATED
UNCHANGED, FAILED = pb.UPSERT_STATUS_UNCHANGED, pb.UPSERT_STATUS_FAILED

MAX_CONTACT, MAX_TEXT, MAX_EXTERNAL_ID, MAX_FIELDS, MAX_FIELD_NAME = 100 * 1024, 1024, 255, 300, 150

BAD_EMAILS = ("nobody", "a@b@c.example", "@c.example", "a@localhost", "a b@c.example")
BAD_PHONES = ("123", "call me", "+1 617 555 1212 x5", "+1234567890123456")
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def email(text):
    """The normal form, None when it is not valid."""
    if text in BAD_EMAILS:
        return None
    return unicodedata.normalize("NFC", text.strip()).lower()


def phone(text, dial_code):
    """The normal form. The pool: ten digits of a number in North America, alone or behind `+1`,
    `001` or `1`, with separators."""
    if text in BAD_PHONES:
        return None
    digits = re.sub(r"[^0-9]", "", text)
    if text.startswith("+"):
        return "+" + digits
    if digits.startswith("00"):
        return "+" + digits[2:]
    if not dial_code or dial_code == "1" and len(digits) == 11 and digits[0] == "1":
        return "+" + digits
    return "+" + dial_code + digits


@dataclasses.dataclass(frozen=True)
class Row:
    """A contact as it stands. `fields`: (name, kind, value), by name."""

    email: str = None
    phone: str = None
    external_id: str = None
    name: str = None
    first_name: str = None
    last_name: str = None
    fields: tuple = ()
    lists: frozenset = frozenset()


@dataclasses.dataclass(frozen=True)
class Fault:
    """`field` None: the contract does not say which. `conflicting`: a handle."""

    reason: str
    field: str = None
    conflicting: int = None


@dataclasses.dataclass(frozen=True)
class Expected:
    """What becomes of one contact. `faults`: when FAILED, one of these is told; they are more than one
    only where the contract's order puts them into one place. `before` and `after`: the contact's rows.
    """

    status: int
    handle: int = None
    faults: tuple = ()
    before: Row = None
    after: Row = None

    @property
    def event(self):
        """The event of an import that runs workflows."""
        if self.status == CREATED:
            return pb.EVENT_TYPE_CREATED, self.after
        if self.status == UPDATED:
            return pb.EVENT_TYPE_UPDATED, self.after
        return None


def refused(*faults):
    return Expected(FAILED, faults=faults)


def value_of(custom):
    """(kind, value) of a custom field that is valid; None for null."""
    kind = custom.WhichOneof("value")
    if kind == "null_value":
        return None
    value = getattr(custom, kind)
    if kind == "number_value":
        value += 0.0
    elif kind == "timestamp_value":
        value = (value.seconds, value.nanos // 1000)
    return kind, value


def row_of(contact):
    """The row that a contact read back tells."""
    assert not any(contact.HasField(name) and not getattr(contact, name) for name in STANDARD), contact
    names = [custom.name for custom in contact.fields]
    assert len(set(names)) == len(names), contact
    assert len(set(contact.list_ids)) == len(contact.list_ids), contact
    return Row(
        **{name: getattr(contact, name) or None for name in STANDARD},
        fields=tuple(sorted((custom.name, *value_of(custom)) for custom in contact.fields)),
        lists=frozenset(contact.list_ids))


def json_of(row):
    """The `fields` of the table, as Python reads jsonb."""
    out = {}
    for name, kind, value in row.fields:
        if kind == "timestamp_value":
            assert value[0] == 1700000000, "the pool has one second"
            value = f"2023-11-14T22:13:20.{value[1]:06}Z"
        out[name] = value
    return out


def field_fault(custom):
    """Whether a custom field breaks a rule other than that of text."""
    if not 1 <= len(custom.name.encode()) <= MAX_FIELD_NAME:
        return True
    kind = custom.WhichOneof("value")
    if kind is None:
        return True
    if kind == "number_value":
        return not math.isfinite(custom.number_value)
    if kind == "timestamp_value":
        stamp = custom.timestamp_value
        return not (-62135596800 <= stamp.seconds <= 253402300799 and 0 <= stamp.nanos < 10**9)
    return False


class Model:
    """A workspace."""

    def __init__(self, unique=("email",), lists=()):
        self.unique = frozenset(unique)
        self.lists = set(lists)
        self.rows = {}
        self.ids = {}
        self.handles = {}

    def snapshot(self):
        """This state, for `predict`; what is bound later is known to it."""
        copy = Model(self.unique, self.lists)
        copy.rows, copy.ids, copy.handles = dict(self.rows), self.ids, self.handles
        return copy

    def bind(self, handle, id_):
        assert handle not in self.ids and id_ not in self.handles, (handle, id_)
        self.ids[handle], self.handles[id_] = id_, handle

    def call_fault(self, options):
        """The name of the status code that options end a call with; None: they are good."""
        key = MATCH[options.match_by]
        if key == "id" and options.existence == pb.EXISTENCE_CREATE_ONLY:
            return "INVALID_ARGUMENT"
        if not re.fullmatch("[0-9]{0,3}", options.default_dial_code):
            return "INVALID_ARGUMENT"
        if key != "id" and key not in self.unique:
            return "FAILED_PRECONDITION"
        if not set(options.list_ids) - {0} <= self.lists:
            return "NOT_FOUND"
        return None

    def holders(self, name, value):
        return [handle for handle, row in self.rows.items() if getattr(row, name) == value]

    def lowest(self, name, value):
        """The contact that GetContacts finds: of several the one with the lowest id."""
        return min(self.holders(name, value), key=self.ids.get, default=None)

    # The rules that need no state, and the lists; the stages in the contract's order.

    def stages(self, contact, options):
        yield self.size_faults(contact)
        yield self.text_faults(contact)
        yield self.key_faults(contact, options)
        yield self.identifier_faults(contact, options)
        yield self.custom_faults(contact)
        unknown = set(contact.list_ids) - {0} - self.lists
        yield [Fault("LIST_UNKNOWN", "list_ids")] if unknown else []

    def faults(self, contact, options):
        """The faults of which one is told. A custom field whose text is no text stands at "text
        validity" by its kind and at "custom fields" by its place: it lets the next stage speak too."""
        found = []
        for faults in self.stages(contact, options):
            found += faults
            if any(not (fault.reason == "INVALID_UTF8" and fault.field.startswith("fields."))
                   for fault in faults):
                break
        return tuple(found)

    def size_faults(self, contact):
        return [Fault("CONTACT_TOO_LARGE", "")] if contact.ByteSize() > MAX_CONTACT else []

    def text_faults(self, contact):
        texts = [(name, getattr(contact, name)) for name in STANDARD + ("id",)]
        for number, custom in enumerate(contact.fields):
            texts += [(f"fields.{number}", custom.name), (f"fields.{number}", custom.string_value)]
        found = [Fault("INVALID_UTF8", name) for name, text in texts if "\0" in text]
        limits = dict.fromkeys(NAMES, MAX_TEXT) | {"external_id": MAX_EXTERNAL_ID}
        return found + [Fault("VALUE_TOO_LONG", name) for name, limit in limits.items()
                        if len(getattr(contact, name).encode()) > limit]

    def form_fault(self, name, text, options):
        if name == "email" and email(text) is None:
            return Fault("EMAIL_INVALID", "email")
        if name == "phone" and phone(text, options.default_dial_code) is None:
            return Fault("PHONE_INVALID", "phone")
        if name == "id" and not UUID.fullmatch(text):
            return Fault("FIELD_INVALID", "id")
        return None

    def key_faults(self, contact, options):
        name = MATCH[options.match_by]
        text = getattr(contact, name)
        if not text:
            return [Fault("KEY_MISSING", name)]
        fault = self.form_fault(name, text, options)
        return [fault] if fault else []

    def identifier_faults(self, contact, options):
        key = MATCH[options.match_by]
        found = [self.form_fault(name, getattr(contact, name), options) for name in IDENTIFIERS
                 if name != key and getattr(contact, name)]
        if key != "id" and contact.HasField("id"):
            found.append(Fault("FIELD_INVALID", "id"))
        return [fault for fault in found if fault]

    def custom_faults(self, contact):
        found = [Fault("FIELD_INVALID", f"fields.{number}")
                 for number, custom in enumerate(contact.fields) if field_fault(custom)]
        if len(contact.fields) > MAX_FIELDS:
            found += [Fault("FIELD_INVALID", "fields"), Fault("FIELD_INVALID", f"fields.{MAX_FIELDS}")]
        return found

    # What a contact does.

    def normal(self, name, text, options):
        """What is stored for a text that is valid."""
        if not text:
            return None
        if name == "email":
            return email(text)
        if name == "phone":
            return phone(text, options.default_dial_code)
        return text

    def find(self, contact, options):
        """The handle of the contact that is matched, None when there is none."""
        name = MATCH[options.match_by]
        text = getattr(contact, name)
        if name == "id":
            handle = self.handles.get(text.lower())
            return handle if handle in self.rows else None
        found = self.holders(name, self.normal(name, text, options))
        assert len(found) <= 1, (name, text, found)
        return found[0] if found else None

    def written(self, contact, options, before):
        """The row that the contact makes of the one before."""
        key = MATCH[options.match_by]
        replace = options.write_mode == pb.WRITE_MODE_REPLACE
        standard = {}
        for name in STANDARD:
            if contact.HasField(name):
                standard[name] = self.normal(name, getattr(contact, name), options)
            elif not replace or name == key:
                standard[name] = getattr(before, name)
        fields = {} if replace else {name: rest for name, *rest in before.fields}
        for custom in contact.fields:
            value = value_of(custom)
            fields.pop(custom.name, None)
            if value is not None:
                fields[custom.name] = value
        return Row(
            **standard, fields=tuple(sorted((name, *rest) for name, rest in fields.items())),
            lists=before.lists | set(contact.list_ids) - {0} | set(options.list_ids) - {0})

    def predict(self, contact, options):
        """What would become of the contact."""
        faults = self.faults(contact, options)
        if faults:
            return refused(*faults)
        handle = self.find(contact, options)
        by_id = MATCH[options.match_by] == "id"
        if handle is None and (by_id or options.existence == pb.EXISTENCE_UPDATE_ONLY):
            return refused(Fault("NOT_FOUND"))
        if handle is not None and options.existence == pb.EXISTENCE_CREATE_ONLY:
            return refused(Fault("ALREADY_EXISTS", conflicting=handle))
        before = self.rows.get(handle, Row())
        after = self.written(contact, options, before)
        taken = [Fault("IDENTIFIER_TAKEN", name, other) for name in IDENTIFIERS
                 if name in self.unique and getattr(after, name) is not None
                 for other in self.holders(name, getattr(after, name)) if other != handle]
        if taken:
            return refused(*taken)
        if handle is None:
            return Expected(CREATED, len(self.rows) + 1, after=after)
        # (kind, value) of 1 and 1.0 and True differ by their kinds.
        status = UNCHANGED if before == after else UPDATED
        return Expected(status, handle, before=before, after=after)

    def apply(self, contact, options):
        """What becomes of the contact. A validate_only import needs a snapshot to itself."""
        expected = self.predict(contact, options)
        if expected.status in (CREATED, UPDATED):
            self.rows[expected.handle] = expected.after
        return expected

    def identifiers(self, contact, options):
        """All by which a contact may meet another in its stream: (name, normal form)."""
        found = set()
        for name in IDENTIFIERS:
            text = getattr(contact, name)
            if text and "\0" not in text and self.form_fault(name, text, options) is None:
                found.add((name, self.normal(name, text, options)))
        if contact.id:
            found.add(("id", contact.id.lower()))
        return found
