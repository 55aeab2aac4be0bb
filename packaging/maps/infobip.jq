# Delivery and seen reports of Infobip: the body of the webhook as it is, for SMS, WhatsApp
# and RCS. docs/brokers.md says what becomes of what. No price is handed on: it is what you pay.
# Change these functions to what your messages have. Their input is one of the results.
def account: $message.headers.account; # or by the sender: {"Shop": "acc_1"}[.from]
def message: .messageId;               # your id of the message; .messageId is the one it was sent with
def customer: null;                    # the account's own id; .callbackData, if that is where you have it
def channel: $message.headers.channel // .channel // "SMS"; # reports of SMS do not say it

def need($name): if . == null or . == "" then error("\($name) is missing") else . end;
def channels: {SMS: "SMS", WHATSAPP: "WHATSAPP", RCS: "RCS"};
def groups: {PENDING: "SENT", DELIVERED: "DELIVERED", UNDELIVERABLE: "UNDELIVERABLE", EXPIRED: "EXPIRED", REJECTED: "REJECTED"};
# Names that mean something else than their group says.
def names: {PENDING_ACCEPTED: "ACCEPTED", DELIVERED_TO_OPERATOR: "SENT", EXPIRED_DLR_UNKNOWN: "UNKNOWN"};

def cause($status):
  if test("UNKNOWN_SUBSCRIBER|UNIDENTIFIED_SUBSCRIBER") then "UNKNOWN_SUBSCRIBER"
  elif test("ABSENT_SUBSCRIBER") then "ABSENT_SUBSCRIBER"
  elif test("MEMORY_CAPACITY") then "HANDSET_MEMORY_FULL"
  elif test("CALL_BARRED|ILLEGAL_(SUBSCRIBER|EQUIPMENT)") then "BARRED"
  elif $status == "EXPIRED" then "TTL_EXPIRED"
  else "OTHER" end;

# 2026-11-20T10:30:00.000+0000 as RFC 3339 writes it.
def instant: sub("(?<hours>[+-][0-9]{2})(?<minutes>[0-9]{2})$"; "\(.hours):\(.minutes)");

def trouble($status):
  if .error == null or .error.name == "NO_ERROR" then
    if $status == "EXPIRED" then {code: "TTL_EXPIRED", permanent: false, provider: {name: "infobip", code: .status.name}}
    elif $status | IN("REJECTED", "UNDELIVERABLE") then {code: "OTHER", permanent: false, provider: {name: "infobip", code: .status.name}}
    else null end
  else .error | (.name | need("error.name") | cause($status)) as $code
    | {code: $code, permanent: (.permanent // false), message: .description[0:512], provider: {name: "infobip", code: .name}}
    | with_entries(select(.value != null)) end;

def event:
  (.messageId | need("messageId")) as $id
  | (if .seenAt then "SEEN" else .status.name | need("status.name") end) as $word
  | (if .seenAt then "READ" else names[$word] // groups[.status.groupName] // error("status.groupName \(.status.groupName | tojson) is not known") end) as $status
  | (.to // .destination | need("to") | ltrimstr("+")) as $to
  | (channel as $said | channels[$said] // error("the channel \($said | tojson) is none of Recapito's")) as $channel
  | ($to | test("^[1-9][0-9]{1,14}$")) as $numbered
  | (.seenAt // .doneAt // .sentAt | need("doneAt") | instant) as $time
  | {id: (["infobip", $id, $word] | digest), accountId: (account | need("the header account")), messageId: message, customerMessageId: customer,
     channel: $channel, destination: (if $numbered then "+" + $to else null end), recipientId: (if $numbered then null else $to end),
     status: $status, description: .status.description[0:512], timestamp: $time,
     network: (if .mccMnc // "" | test("^[0-9]{5,6}$") then {mccmnc: .mccMnc} else null end), error: trouble($status)}
  | with_entries(select(.value != null));

# The event of each result. What is wrong with some is said at the end; the others go on.
if type != "object" or (.results | type) != "array" then error("results is missing") else . end
| [.results | to_entries[] | .key as $nth | .value | try {event: event} catch {wrong: "results[\($nth)]: \(.)"}]
| (.[] | .event // empty), ([.[] | .wrong // empty] | if . == [] then empty else error(join("; ")) end)
