"""Walks through the life of a webhook with the client that
openapi-python-client generates, and prints what it sees: the scenario of
docs/contract.md.
"""

import os
from typing import TypeVar

from recapito_client import AuthenticatedClient
from recapito_client.api.deliveries import get_delivery, list_attempts, list_deliveries, read_events
from recapito_client.api.webhooks import (
    create_webhook,
    delete_webhook,
    get_webhook,
    replace_webhook,
    rotate_signing_secret,
    send_test_event,
)
from recapito_client.models import (
    AttemptList,
    AttemptOutcome,
    DeliveryDetail,
    DeliveryList,
    DeliveryState,
    Diagnosis,
    EventFeed,
    Problem,
    StatusEvent,
    Webhook,
    WebhookInput,
    WebhookWithSecret,
)

T = TypeVar("T")


def connect(key: str) -> AuthenticatedClient:
    return AuthenticatedClient(os.environ["RECAPITO_URL"], token=key, prefix="", auth_header_name="X-API-Key")


def must(kind: type[T], parsed: object) -> T:
    """What was parsed, if it is of the kind."""
    if not isinstance(parsed, kind):
        raise TypeError(f"got {parsed}, want {kind}")
    return parsed


def say(step: str, *seen: object) -> None:
    print(f"{step}:", *(str(s).lower() if isinstance(s, bool) else s for s in seen))


first = os.environ["RECAPITO_CALLBACK"] + "/first"
second = os.environ["RECAPITO_CALLBACK"] + "/second"
account = connect(os.environ["RECAPITO_API_KEY"])

created = create_webhook.sync_detailed(client=account, body=WebhookInput(callback_url=first))
webhook = must(WebhookWithSecret, created.parsed)
say("register", created.status_code.value, webhook.status.value, webhook.callback_url == first)

read = get_webhook.sync_detailed(client=account)
same = must(Webhook, read.parsed)
say("read", read.status_code.value, same.status.value, same.id == webhook.id)

conflict = create_webhook.sync_detailed(client=account, body=WebhookInput(callback_url=second))
say("conflict", conflict.status_code.value, must(Problem, conflict.parsed).title)

replaced = replace_webhook.sync_detailed(client=account, body=WebhookInput(callback_url=second))
say("replace", replaced.status_code.value, must(Webhook, replaced.parsed).callback_url == second)

refused = replace_webhook.sync_detailed(client=account, body=WebhookInput(callback_url="https://10.0.0.1/"))
say("bad URL", refused.status_code.value, *(e.pointer for e in must(Problem, refused.parsed).errors or []))

rotated = rotate_signing_secret.sync_detailed(client=account)
say("rotate", rotated.status_code.value, must(WebhookWithSecret, rotated.parsed).signing_secret != webhook.signing_secret)

tested = send_test_event.sync_detailed(client=account)
diagnosis = must(Diagnosis, tested.parsed)
say("test", tested.status_code.value, diagnosis.verdict.value, diagnosis.payload.event_type.value, diagnosis.attempt.status_code)

listed = list_deliveries.sync_detailed(client=account, state=[DeliveryState.DELIVERED])
deliveries = must(DeliveryList, listed.parsed).deliveries
newest = deliveries[0]
say("list", listed.status_code.value, len(deliveries), newest.event_id, newest.state.value)

found = get_delivery.sync_detailed(newest.event_id, client=account)
detail = must(DeliveryDetail, found.parsed)
say("delivery", found.status_code.value, must(StatusEvent, detail.payload).status.value, detail.attempts[0].status_code)

tried = list_attempts.sync_detailed(client=account, outcome=AttemptOutcome.ACKNOWLEDGED)
attempts = must(AttemptList, tried.parsed).attempts
say("attempts", tried.status_code.value, len(attempts), attempts[0].event_id, attempts[0].status_code)

feed = read_events.sync_detailed(client=account, limit=10)
page = must(EventFeed, feed.parsed)
rest = must(EventFeed, read_events.sync_detailed(client=account, after=page.next_cursor).parsed)
oldest = page.events[0]
say("events", feed.status_code.value, len(page.events), oldest.event_id, must(StatusEvent, oldest.payload).status.value, not rest.events)

deleted = delete_webhook.sync_detailed(client=account)
gone = get_webhook.sync_detailed(client=account)
say("delete", deleted.status_code.value, gone.status_code.value, must(Problem, gone.parsed).title)

unauthorized = get_webhook.sync_detailed(client=connect("wrong"))
say("wrong key", unauthorized.status_code.value, must(Problem, unauthorized.parsed).detail)
