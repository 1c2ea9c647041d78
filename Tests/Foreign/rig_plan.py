"""The contacts of an import that is driven through faults, and what has to come of them.

All contacts come from a seed, so that a client that is started anew has the same ones. Contacts
meet only under the same email, so each email has a history of its own: the import's contacts in the
order of their numbers, and in between what another writer did. The position of such a change is
that of the last contact that was sent before it.
"""

import dataclasses
import random

from harness import CREATED, FAILED, UNCHANGED, UPDATED, field
from stubs import pb

MOST_FIELDS = 3


@dataclasses.dataclass(frozen=True)
class Item:
    """One contact, as the model sees it. `phone`: None leaves it, "" clears it."""

    email: str
    name: str
    fields: tuple = ()
    phone: str = None
    # Why it is refused, whatever the database has.
    fault: str = None
    # Whose phone number it asks for.
    owner: str = None

    def contact(self, email=None):
        contact = pb.Contact(email=email or self.email, name=self.name,
                             fields=[field(name, value) for name, value in self.fields])
        if self.phone is not None:
            contact.phone = self.phone
        return contact


@dataclasses.dataclass(frozen=True)
class Row:
    """A contact as it is stored."""

    name: str = None
    phone: str = None
    fields: tuple = ()

    def after(self, item):
        phone = self.phone if item.phone is None else item.phone or None
        fields = {**dict(self.fields), **dict(item.fields)}
        return Row(item.name, phone, tuple(sorted(fields.items())))


class Plan:
    """The contacts of one import."""

    def __init__(self, seed, count):
        chance = random.Random(f"contacts {seed}")
        self.count = count
        self.items = []
        self.contacts = []
        # The contacts that have the phone numbers for which others ask; they are there before.
        self.owners = []
        # With few repeats the lanes go their own ways.
        emails = max(3, int(count * chance.choice([0.05, 0.5, 5, 500])))
        self.repeats = emails < 100 * count
        for number in range(1, count + 1):
            item = self._item(chance, number, f"k{chance.randrange(emails)}@rig.example")
            self.items.append(item)
            written = item.email.upper() if chance.random() < 0.1 else item.email
            self.contacts.append(item.contact(written))
        # By email, the numbers of its contacts.
        self.places = {}
        for number, item in enumerate(self.items, 1):
            if item.fault != "EMAIL_INVALID":
                self.places.setdefault(item.email, []).append(number)
        # By owner, the number of the contact that asks for its phone number.
        self.asked = {item.owner: number for number, item in enumerate(self.items, 1) if item.owner}

    def _item(self, chance, number, email):
        kind = chance.random()
        if kind < 0.01:
            return Item(f"bad {number}@rig.example", "bad", fault="EMAIL_INVALID")
        if kind < 0.015:
            owner = Item(f"owner{number}@rig.example", "owner", phone=f"+1617{5000000 + number}")
            self.owners.append(owner)
            return Item(email, f"n{number}", phone=owner.phone, fault="IDENTIFIER_TAKEN",
                        owner=owner.email)
        if kind < 0.1 and self.items and not self.items[-1].fault and self.repeats:
            return self.items[-1]
        fields = tuple((f"f{chance.randrange(MOST_FIELDS)}", number)
                       for _ in range(chance.randrange(MOST_FIELDS)))
        return Item(email, f"n{number}", tuple(sorted(dict(fields).items())))


@dataclasses.dataclass
class Written:
    """What another writer did, in one import of its own."""

    import_id: str
    # The last contact that the import had sent before.
    after: int
    items: list
    # By the writer's results.
    results: list = None


@dataclasses.dataclass
class Outcome:
    """What has to be in the end."""

    # By number, the status and the reason.
    expected: dict = dataclasses.field(default_factory=dict)
    # By the other writer's import, its statuses.
    others: dict = dataclasses.field(default_factory=dict)
    # By email.
    rows: dict = dataclasses.field(default_factory=dict)
    # By email: (type, import, row), in order.
    events: dict = dataclasses.field(default_factory=dict)

    def count(self, status):
        return sum(found == status for found, _ in self.expected.values())

    def reasons(self):
        counts = {}
        for status, reason in self.expected.values():
            if status == FAILED:
                counts[reason] = counts.get(reason, 0) + 1
        return counts


def outcome(plan, import_id, others):
    """Plays all histories; `others` in the order in which they were written."""
    histories = {}
    for number, item in enumerate(plan.items, 1):
        histories.setdefault(item.email, []).append((number, 0, import_id, number, item))
    found = Outcome()
    for order, other in enumerate(others, 1):
        found.others[other.import_id] = {}
        for place, item in enumerate(other.items, 1):
            histories.setdefault(item.email, []).append(
                (other.after, order, other.import_id, place, item))
    for email, history in histories.items():
        for _, order, source, number, item in sorted(history, key=lambda entry: entry[:2]):
            status, reason = _apply(found, email, source, item)
            if order:
                found.others[source][number] = status
            else:
                found.expected[number] = status, reason
    return found


def _apply(found, email, import_id, item):
    if item.fault:
        return FAILED, item.fault
    before = found.rows.get(email)
    after = (before or Row()).after(item)
    if before == after:
        return UNCHANGED, ""
    found.rows[email] = after
    kind = pb.EVENT_TYPE_UPDATED if before else pb.EVENT_TYPE_CREATED
    found.events.setdefault(email, []).append((kind, import_id, after))
    return UPDATED if before else CREATED, ""
