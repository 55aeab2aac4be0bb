"""Walks through the life of a webhook with the client that
openapi-python-client generates, and prints what it sees: the scenario of
docs/contract.md.
"""

import datetime
import os
import time
from collections.abc import Callable
from typing import TypeVar

from recapito_client import AuthenticatedClient
from recapito_client.api.accounts import (
    create_api_key,
    create_console_link,
    delete_account,
    delete_api_key,
    get_account,
    get_account_replay,
    list_account_replays,
    list_accounts,
    list_api_keys,
    put_account,
    start_account_replay,
    stop_account_replay,
)
from recapito_client.api.deliveries import (
    get_delivery,
    get_health,
    get_replay,
    list_attempts,
    list_deliveries,
    list_health_changes,
    list_health_minutes,
    list_replays,
    read_events,
    replay_delivery,
    start_replay,
    stop_replay,
)
from recapito_client.api.events import send_events
from recapito_client.api.operations import (
    create_operations_webhook,
    delete_operations_webhook,
    get_operations_webhook,
    get_status,
    list_operations_deliveries,
    replace_operations_webhook,
    rotate_operations_secret,
)
from recapito_client.api.webhooks import (
    create_webhook,
    delete_webhook,
    get_callback_sources,
    get_webhook,
    probe_endpoint,
    replace_webhook,
    rotate_signing_secret,
    send_test_event,
)
from recapito_client.models import (
    Account,
    AccountList,
    AccountReplay,
    AccountReplayInput,
    AccountReplayList,
    ApiKeyCreated,
    ApiKeyList,
    AttemptList,
    AttemptOutcome,
    CallbackSources,
    Channel,
    ConsoleLink,
    ConsoleLinkInput,
    Delivery,
    DeliveryDetail,
    DeliveryList,
    DeliveryState,
    Diagnosis,
    EndedState,
    EndpointState,
    EventBatch,
    EventFeed,
    EventInput,
    EventsResult,
    Health,
    HealthChangeList,
    HealthMinutes,
    MessageStatus,
    OperationalEvent,
    OperationsDeliveryList,
    Problem,
    Replay,
    ReplayFilters,
    ReplayList,
    ServiceStatus,
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


def wait(so: Callable[[], bool]) -> None:
    """Asks until it is so, for a minute at most."""
    deadline = time.monotonic() + 60
    while not so():
        if time.monotonic() > deadline:
            raise TimeoutError("waited for a minute in vain")
        time.sleep(0.05)


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
say("attempts", tried.status_code.value, attempts[0].event_id, attempts[0].status_code)

feed = read_events.sync_detailed(client=account, limit=10)
page = must(EventFeed, feed.parsed)
rest = must(EventFeed, read_events.sync_detailed(client=account, after=page.next_cursor).parsed)
oldest = page.events[0]
say("events", feed.status_code.value, len(page.events), oldest.event_id, must(StatusEvent, oldest.payload).status.value, not rest.events)

stated = get_callback_sources.sync_detailed(client=account)
sources = must(CallbackSources, stated.parsed)
say("sources", stated.status_code.value, sources.stated, len(sources.networks))

asked = get_health.sync_detailed(client=account)
health = must(Health, asked.parsed)
say("health", asked.status_code.value, health.state.value, health.pending)

changed = list_health_changes.sync_detailed(client=account)
say("changes", changed.status_code.value, len(must(HealthChangeList, changed.parsed).changes))

by_minute = list_health_minutes.sync_detailed(client=account)
say("minutes", by_minute.status_code.value, bool(must(HealthMinutes, by_minute.parsed).minutes))

probed = probe_endpoint.sync_detailed(client=account)
say("probe", probed.status_code.value, must(Problem, probed.parsed).title)

again = replay_delivery.sync_detailed(newest.event_id, client=account)
sent = must(Delivery, again.parsed)
say("send again", again.status_code.value, sent.event_id, sent.state.value)
wait(lambda: must(DeliveryDetail, get_delivery.sync(newest.event_id, client=account)).state == DeliveryState.DELIVERED)

started = start_replay.sync_detailed(client=account, body=ReplayFilters(state=[EndedState.DELIVERED]))
replay = must(Replay, started.parsed)
wait(lambda: must(Replay, get_replay.sync(replay.id, client=account)).ended_at is not None)
ended = must(Replay, get_replay.sync(replay.id, client=account))
say("replay", started.status_code.value, ended.state.value, ended.matched, ended.sent_again, ended.remaining)

replays = list_replays.sync_detailed(client=account)
stopped = must(Replay, stop_replay.sync(replay.id, client=account))
say("replays", replays.status_code.value, bool(must(ReplayList, replays.parsed).replays), stopped.state.value)

platform = AuthenticatedClient(os.environ["RECAPITO_URL"], token=os.environ["RECAPITO_PLATFORM_KEY"])

ranked = list_accounts.sync_detailed(client=platform, state=[EndpointState.HEALTHY])
worst = must(AccountList, ranked.parsed).accounts[0]
say("accounts", ranked.status_code.value, worst.id, must(EndpointState, worst.state).value, worst.pending)

begun = start_account_replay.sync_detailed(
    client=platform, body=AccountReplayInput(filters=ReplayFilters(), account_ids=["acc"])
)
several = must(AccountReplay, begun.parsed)
wait(lambda: must(AccountReplay, get_account_replay.sync(several.id, client=platform)).ended_at is not None)
done = must(AccountReplay, get_account_replay.sync(several.id, client=platform))
say("replay of several", begun.status_code.value, done.state.value, done.accounts.begun)

all_replays = list_account_replays.sync_detailed(client=platform)
halted = must(AccountReplay, stop_account_replay.sync(several.id, client=platform))
say(
    "replays of several",
    all_replays.status_code.value,
    bool(must(AccountReplayList, all_replays.parsed).replays),
    halted.state.value,
)

provisioned = put_account.sync_detailed("acc_new", client=platform)
known = get_account.sync_detailed("acc_new", client=platform)
say("account", provisioned.status_code.value, known.status_code.value, must(Account, known.parsed).id)

added = create_api_key.sync_detailed("acc_new", client=platform)
key = must(ApiKeyCreated, added.parsed)
keys = list_api_keys.sync_detailed("acc_new", client=platform)
say("keys", added.status_code.value, keys.status_code.value, must(ApiKeyList, keys.parsed).api_keys[0].id == key.id)

link = create_console_link.sync_detailed("acc_new", client=platform, body=ConsoleLinkInput(minutes=5))
say("console", link.status_code.value, must(ConsoleLink, link.parsed).path.startswith("/console#"))

newcomer = connect(must(str, key.key))
must(WebhookWithSecret, create_webhook.sync(client=newcomer, body=WebhookInput(callback_url=first)))
event_input = EventInput(
    id="evt_new",
    account_id="acc_new",
    message_id="m-new",
    channel=Channel.SMS,
    destination="+393401234567",
    status=MessageStatus.DELIVERED,
    timestamp=datetime.datetime.now(datetime.timezone.utc),
)
handed = send_events.sync_detailed(client=platform, body=EventBatch(events=[event_input]))
result = must(EventsResult, handed.parsed)
say("hand in", handed.status_code.value, result.accepted, len(result.skipped))

revoked = delete_api_key.sync_detailed("acc_new", key.id, client=platform)
say("revoke", revoked.status_code.value, get_webhook.sync_detailed(client=newcomer).status_code.value)

erased = delete_account.sync_detailed("acc_new", client=platform)
say("erase", erased.status_code.value)

status = get_status.sync_detailed(client=platform)
say("status", status.status_code.value, must(ServiceStatus, status.parsed).attempting)

own = create_operations_webhook.sync_detailed(client=platform, body=WebhookInput(callback_url=first))
own_webhook = must(WebhookWithSecret, own.parsed)
own_read = must(Webhook, get_operations_webhook.sync(client=platform))
say("platform", own.status_code.value, own_webhook.status.value, own_read.id == own_webhook.id)

own_replaced = replace_operations_webhook.sync_detailed(client=platform, body=WebhookInput(callback_url=second))
own_rotated = rotate_operations_secret.sync_detailed(client=platform)
own_secret = must(WebhookWithSecret, own_rotated.parsed).signing_secret
say(
    "platform's own",
    own_replaced.status_code.value,
    own_rotated.status_code.value,
    own_secret != own_webhook.signing_secret,
)

deleted = delete_webhook.sync_detailed(client=account)
gone = get_webhook.sync_detailed(client=account)
say("delete", deleted.status_code.value, gone.status_code.value, must(Problem, gone.parsed).title)

told = list_operations_deliveries.sync_detailed(client=platform, account_id="acc")
event = must(OperationalEvent, must(OperationsDeliveryList, told.parsed).deliveries[0].payload)
removed = delete_operations_webhook.sync_detailed(client=platform)
say("told", told.status_code.value, event.event_type.value, event.account_id, removed.status_code.value)

unauthorized = get_webhook.sync_detailed(client=connect("wrong"))
say("wrong key", unauthorized.status_code.value, must(Problem, unauthorized.parsed).detail)
