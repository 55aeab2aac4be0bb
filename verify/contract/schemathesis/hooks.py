"""What Schemathesis has to be told about Recapito beside openapi.yaml: the
rules that the document gives in words, and how to meet every state.

It adds no leniency of its own: a refusal of a request that the schema allows
is accepted only if `broken_rules` finds the rule that it breaks.
"""

import atexit
import http.client
import json
import os
import re
import zlib
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import schemathesis
from hypothesis import strategies as st
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree

WEBHOOK = "/webhooks/delivery-status"
BASE = urlsplit(os.environ["RECAPITO_URL"])
KEYS = json.loads(os.environ["RECAPITO_KEYS"])  # of the accounts, by id; none when the platform's operations are tested
LISTINGS = {"listDeliveries": WEBHOOK + "/deliveries", "listAttempts": WEBHOOK + "/attempts"}  # of an account, with a cursor
PLATFORM = {"Authorization": "Bearer " + os.environ["RECAPITO_PLATFORM_KEY"]}
ACCOUNTS = os.environ["RECAPITO_ACCOUNTS"].split()

# Callback URLs: what the description of callbackUrl calls public.
label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
public_url = st.builds(
    "{}://{}.{}{}{}".format,
    st.sampled_from(["https", "HTTPS", "hTTps"]),
    st.lists(label, min_size=1, max_size=3).map(".".join),
    st.sampled_from(["com", "example", "it", "xn--p1ai"]),
    st.sampled_from(["", ":1", ":443", ":65535"]),
    st.from_regex(r"(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2}){0,20}){0,3}(\?[A-Za-z0-9=&%20]{0,20})?", fullmatch=True),
).filter(lambda url: not re.search(r"%(?![0-9A-F]{2})", url))
schemathesis.openapi.format("uri", public_url)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Documents the request's X-Request-Id, so that operations without any
    input have something to vary."""
    header = {"name": "X-Request-Id", "in": "header", "schema": {"type": "string"}}
    for item in raw_schema["paths"].values():
        for method in ("get", "put", "post", "delete"):
            if method in item:
                item[method].setdefault("parameters", []).append(header)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Meets every state, names what exists, and keeps the rules, in half of the
    cases. Stateful cases are left as they are, but for a listing that finds
    nothing: no link leads on from it."""
    if case.meta is None:
        return
    dice = zlib.crc32(case.id.encode())
    name = case.operation.definition.raw["operationId"]
    if name == "sendTestEvent" and KEYS:  # to nobody's server
        call("replaceWebhook", "PUT", WEBHOOK, key_of(case), {"callbackUrl": "https://callback.example/"})
    if name == "readEvents" and str((case.query or {}).get("wait")) in map(str, range(2, 31)):
        case.query["wait"] = 0  # nothing comes, and there are many cases
    if case.meta.phase.name == "stateful":
        if name in LISTINGS and case.meta.generation.mode.is_positive and dice % 2:
            list_something(case)
        return
    if name == "deleteAccount" and case.path_parameters["accountId"] in ACCOUNTS:
        case.path_parameters["accountId"] += ".2"  # the others still need it
    if KEYS and case.path in (WEBHOOK, WEBHOOK + "/signing-secret", WEBHOOK + "/test-event", WEBHOOK + "/probe"):
        prepare_webhook(key_of(case), dice)
    elif case.meta.generation.mode.is_positive and dice % 2:
        make_real(case, name, dice)


def key_of(case):
    return {"X-API-Key": KEYS.get(case.auth_identity) or KEYS[ACCOUNTS[0]]}


def prepare_webhook(key, dice):
    if dice % 3 == 0:
        call("deleteWebhook", "DELETE", WEBHOOK, key)
    if dice % 3 == 1:
        call("createWebhook", "POST", WEBHOOK, key, {"callbackUrl": "https://example.com/"})


def list_something(case):
    for name in list(case.query):
        if name not in ("cursor", "limit") and not str(case.query[name]).startswith("m-"):  # of a delivery that was read
            del case.query[name]


def make_real(case, name, dice):
    """Changes a valid case so that it is accepted."""
    if name == "sendEvents":
        for event in case.body["events"]:
            keep_rules(event)
    elif name in ("getDelivery", "replayDelivery"):
        case.path_parameters["eventId"] = f"evt_{case.auth_identity or ACCOUNTS[0]}_{dice % 60}"
        if name == "replayDelivery" and dice % 3:  # of all that has ended
            prepare_webhook(key_of(case), 0)
            prepare_webhook(key_of(case), 1)
    elif name in LISTINGS and "cursor" in case.query:
        page = call(name, "GET", f"{LISTINGS[name]}?limit={dice % 50 + 1}", key_of(case))
        case.query["cursor"] = page["nextCursor"]
        keep_cursor(case, page)
    elif name == "readEvents" and "after" in case.query:
        page = call(name, "GET", f"{WEBHOOK}/events?limit={dice % 50 + 1}", key_of(case))
        case.query["after"] = page["nextCursor"] if dice % 3 else "latest"
        keep_cursor(case, page)
    elif name == "listAccounts" and "cursor" in case.query:
        page = call(name, "GET", "/accounts?limit=1", PLATFORM)
        case.query["cursor"] = page["nextCursor"]
        keep_cursor(case, page)
    elif name == "startReplay":
        prepare_webhook(key_of(case), 0)  # which ends what goes on
        prepare_webhook(key_of(case), 1)
    elif name == "startAccountReplay":
        for replay in call("listAccountReplays", "GET", "/replays", PLATFORM)["replays"][:1]:
            call("stopAccountReplay", "DELETE", f"/replays/{replay['id']}", PLATFORM)
    elif name in ("getReplay", "stopReplay"):
        make_real(case, "startReplay", dice)
        made = call("startReplay", "POST", f"{WEBHOOK}/replays", key_of(case), {})
        case.path_parameters["replayId"] = made["id"]
    elif name in ("getAccountReplay", "stopAccountReplay"):
        make_real(case, "startAccountReplay", dice)
        made = call("startAccountReplay", "POST", "/replays", PLATFORM, {"filters": {}})
        case.path_parameters["replayId"] = made["id"]
    elif name == "deleteAccount":
        call("putAccount", "PUT", case.formatted_path, PLATFORM)
    elif name in ("getAccount", "listApiKeys", "createApiKey"):
        case.path_parameters["accountId"] = ACCOUNTS[dice // 2 % 2]
    elif name == "deleteApiKey":
        made = call("createApiKey", "POST", f"/accounts/{ACCOUNTS[0]}/api-keys", PLATFORM)
        case.path_parameters.update(accountId=ACCOUNTS[0], keyId=made["id"])


cursors = set()  # that were answered, each with its listing and the key of its account


def keep_cursor(case, page):
    cursors.add((*listing_of(case), page.get("nextCursor")))


def listing_of(case):
    return case.path, key_of(case)["X-API-Key"] if case.path.startswith(WEBHOOK) else None


@schemathesis.hook
def after_call(context, case, response):
    if case.path in (*LISTINGS.values(), WEBHOOK + "/events", "/accounts") and case.operation.method == "get" and response.status_code == 200:
        lines = response.headers["content-type"][0] == "application/x-ndjson"
        keep_cursor(case, json.loads((response.text.splitlines() or ["{}"])[-1]) if lines else response.json())


own_calls = Counter()


def call(operation, method, path, credential, body=None):
    """A request of our own, which no check looks at and which is not counted as
    a case."""
    own_calls[operation] += 1
    connection = http.client.HTTPConnection(BASE.hostname, BASE.port, timeout=30)
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {**credential, "Content-Type": "application/json"})
    answer = connection.getresponse().read()
    connection.close()
    return json.loads(answer) if answer else None


@atexit.register
def tell_own_calls():
    Path(f"own-calls.{os.getpid()}.json").write_text(json.dumps(own_calls))


def keep_rules(event):
    """Changes an event so that it breaks no rule."""
    event["accountId"] = ACCOUNTS[zlib.crc32(event["id"].encode()) % len(ACCOUNTS)]
    if event.get("destination") is None and event.get("recipientId") is None:
        event["destination"] = "+393401234567"
    if event["status"] == "READ":
        event["channel"] = "RCS"
    if event["status"] != "EXPIRED":
        event.pop("final", None)
    if event.get("part"):
        event["part"]["total"] = max(event["part"].values())
    if not time_in_range(event["timestamp"]):
        event["timestamp"] = "2026-11-20T10:30:00Z"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keeps every failure but the refusal of a request that breaks a rule that
    the document gives in words, and but a bulk replay that can be read after its
    DELETE: that stops it."""
    if isinstance(failure, UseAfterFree) and "/replays/" in case.path:
        return False
    refused = isinstance(failure, RejectedPositiveData) and response.status_code == 400
    return not (refused and any(broken_rules(case)))


def broken_rules(case):
    if case.path == "/events":
        for event in case.body["events"]:
            yield from broken_event_rules(event)
    query = case.query or {}
    for name in ("cursor", "after"):
        if name in query and query[name] != "latest" and (*listing_of(case), query[name]) not in cursors:
            yield f"{name}: `nextCursor` of the page before, of this account"
    for filters in (query, replay_filters(case)):
        for name in ("from", "to", "finishedFrom", "finishedTo", "failedSince"):
            if filters.get(name) is not None and not time_in_range(filters[name]):
                yield f"{name}: from 1970 to 2261"


def replay_filters(case):
    """What a bulk replay is to send again."""
    if not case.path.endswith("/replays") or not isinstance(case.body, dict):
        return {}
    return case.body if case.path.startswith(WEBHOOK) else case.body.get("filters") or {}


def broken_event_rules(event):
    if event.get("destination") is None and event.get("recipientId") is None:
        yield "destination: this or `recipientId` is required"
    if event["status"] == "READ" and event["channel"] == "SMS":
        yield "status: READ does not occur on SMS"
    if event.get("final") is not None and event["status"] != "EXPIRED":
        yield "final: only with EXPIRED"
    if event.get("part") and event["part"]["number"] > event["part"]["total"]:
        yield "part: number is at most total"
    if not time_in_range(event["timestamp"]):
        yield "timestamp: from 1970 to 2261"
    if len(json.dumps(event, ensure_ascii=False).encode()) > 15 << 10:
        yield "StatusEvent: at most 16 KiB"


def time_in_range(text):
    try:
        at = datetime.fromisoformat(text.upper()).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return False
    return 1970 <= at.year <= 2261
